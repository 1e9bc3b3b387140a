"""Asks a source that may be slow, or hang for ever, without ever holding up ComfyUI's event loop."""

import asyncio
import threading
import time
from concurrent.futures import Future

# How long an answer is good for; however many ask, the source is asked once in this time.
KEEP_SECONDS = 1.0
# How long whoever asks waits for a new answer, before being given the last one.
LIMIT_SECONDS = 2.0


class Probe:
    """One source. It is asked in a thread of its own, and never twice at once: a driver that hangs costs one thread. The
    threads are daemons, unlike those of an executor, so that ComfyUI can end while one hangs."""

    def __init__(self, read, keep=KEEP_SECONDS, limit=LIMIT_SECONDS, clock=time.monotonic):
        self._read = read
        self._keep = keep
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._value = None
        self._read_at = None
        self._asked = None
        # By event loop, what those wait for there who have asked it.
        self._waits = {}

    async def ask(self):
        """Returns what the source said last, and whether that is older than it should be: the source is late, or failed."""
        asked = self._begin()
        is_fresh = True
        if asked is not None:
            # Who gives up here ends the waiting and not the question, which others may wait for too.
            await asyncio.wait({self._wait_for(asked)}, timeout=self._limit)
            is_fresh = asked.done() and asked.result()
        with self._lock:
            return self._value, not is_fresh

    def _wait_for(self, asked):
        """Returns the same for all who wait for a question: while a source hangs, none of them leaves anything behind."""
        loop = asyncio.get_running_loop()
        with self._lock:
            known, wait = self._waits.get(loop, (None, None))
            if known is not asked:
                wait = asyncio.wrap_future(asked)
                self._waits[loop] = asked, wait
            return wait

    def _begin(self):
        """Returns the question that is on its way, a new one if need be; None where the last answer is still good."""
        with self._lock:
            if self._asked is not None:
                return self._asked
            if self._read_at is not None and self._clock() - self._read_at < self._keep:
                return None
            self._asked = asked = Future()
            self._waits = {}
        try:
            threading.Thread(target=self._work, args=(asked,), name="comfygate_agent", daemon=True).start()
        except RuntimeError:
            # The machine has no thread to spare.
            self._end(asked, is_told=False)
        return asked

    def _work(self, asked):
        try:
            value = self._read()
        except Exception:
            self._end(asked, is_told=False)
            return
        with self._lock:
            self._value, self._read_at = value, self._clock()
        self._end(asked, is_told=True)

    def _end(self, asked, is_told):
        with self._lock:
            self._asked = None
        asked.set_result(is_told)
