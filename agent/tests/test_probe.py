import asyncio
import threading
import unittest

from comfygate_agent.probe import Probe

from .support import Clock


class Source:
    """A source that counts how often it is asked, and hangs as long as a test wants."""

    def __init__(self):
        self.asked = 0
        self.error = None
        self.goes_on = threading.Event()
        self.goes_on.set()

    def read(self):
        self.asked += 1
        if not self.goes_on.wait(10):
            raise TimeoutError("the test has forgotten this")
        if self.error:
            raise self.error
        return self.asked


class Asking(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.clock = Clock()
        self.source = Source()
        self.addCleanup(self.source.goes_on.set)

    def probe(self, limit=10):
        return Probe(self.source.read, keep=1, limit=limit, clock=self.clock)

    async def test_an_answer_is_good_for_a_second_however_many_ask(self):
        probe = self.probe()
        self.assertEqual([await probe.ask() for _ in range(5)], [(1, False)] * 5)
        self.clock.now += 0.9
        self.assertEqual(await probe.ask(), (1, False))
        self.clock.now += 0.1
        self.assertEqual(await probe.ask(), (2, False))

    async def test_many_who_ask_at_once_ask_once(self):
        probe = self.probe()
        self.source.goes_on.clear()
        asking = [asyncio.create_task(probe.ask()) for _ in range(50)]
        await asyncio.sleep(0)
        self.source.goes_on.set()
        self.assertEqual(await asyncio.gather(*asking), [(1, False)] * 50)
        self.assertEqual(self.source.asked, 1)

    async def test_a_source_that_hangs_holds_up_nobody_and_its_last_answer_is_called_old(self):
        probe = self.probe(limit=0.05)
        patient = Probe(lambda: "other", clock=self.clock)
        await probe.ask()
        self.source.goes_on.clear()
        self.clock.now += 1
        for _ in range(5):
            self.assertEqual(await asyncio.wait_for(probe.ask(), 30), (1, True))
            self.assertEqual(await patient.ask(), ("other", False))
        self.assertEqual(self.source.asked, 2, "it is not asked again while it hangs")

        hanging = probe._asked
        self.source.goes_on.set()
        await asyncio.wait_for(asyncio.wrap_future(hanging), 30)
        self.assertEqual(await probe.ask(), (2, False), "what came late is told as soon as it is there")

    async def test_who_asks_a_source_that_hangs_leaves_nothing_behind(self):
        self.source.goes_on.clear()
        probe = self.probe(limit=0.001)
        for _ in range(50):
            self.assertEqual(await asyncio.wait_for(probe.ask(), 30), (None, True))
        self.assertEqual(len(probe._asked._done_callbacks), 1)

    async def test_whoever_asks_from_another_loop_is_answered_too(self):
        self.source.goes_on.clear()
        probe = self.probe()
        first = asyncio.create_task(probe.ask())
        await asyncio.sleep(0)
        other = asyncio.create_task(asyncio.to_thread(asyncio.run, probe.ask()))
        for _ in range(10_000):
            if len(probe._asked._done_callbacks) == 2:
                break
            await asyncio.sleep(0.001)
        self.source.goes_on.set()
        self.assertEqual(await asyncio.wait_for(asyncio.gather(first, other), 30), [(1, False)] * 2)

    async def test_a_source_that_hangs_from_the_start_has_said_nothing(self):
        self.source.goes_on.clear()
        self.assertEqual(await asyncio.wait_for(self.probe(limit=0.05).ask(), 30), (None, True))

    async def test_a_source_that_hangs_does_not_keep_the_process_from_ending(self):
        self.source.goes_on.clear()
        await self.probe(limit=0.05).ask()
        hanging = [thread for thread in threading.enumerate() if thread.name == "comfygate_agent"]
        self.assertTrue(hanging and all(thread.daemon for thread in hanging))

    async def test_a_source_that_fails_is_asked_again_and_its_last_answer_is_called_old(self):
        probe = self.probe()
        await probe.ask()
        self.clock.now += 1
        self.source.error = RuntimeError("GPU is lost")
        self.assertEqual([await probe.ask() for _ in range(2)], [(1, True)] * 2)
        self.source.error = None
        self.assertEqual(await probe.ask(), (4, False))

    async def test_who_gives_up_asking_ends_it_for_nobody_else(self):
        probe = self.probe()
        self.source.goes_on.clear()
        gives_up, waits = asyncio.create_task(probe.ask()), asyncio.create_task(probe.ask())
        await asyncio.sleep(0)
        gives_up.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await gives_up
        self.source.goes_on.set()
        self.assertEqual(await asyncio.wait_for(waits, 30), (1, False))
