"""Puts together what `GET /orchestrator/metrics` answers."""

import asyncio
import time

from .gpus import Gpus
from .machine import Machine
from .values import number
from .probe import Probe
from .version import VERSION


class Agent:
    """What is known of this machine, for whoever asks."""

    def __init__(self, machine=None, gpus=None, clock=time.monotonic):
        self._clock = clock
        self._began = clock()
        self._machine = machine or Probe(Machine().read)
        self._gpus = gpus or Probe(Gpus().read)

    async def answer(self):
        """Returns the answer as values that JSON can say. What is not known is not in it."""
        (machine, is_machine_old), (gpus, are_gpus_old) = await asyncio.gather(self._machine.ask(), self._gpus.ask())
        first = dict((gpus or [{}])[0])
        first.pop("index", None)
        return {
            "agent": "comfygate",
            "agent_version": VERSION,
            "uptime_seconds": number(self._clock() - self._began),
            "stale": is_machine_old or are_gpus_old,
            **(machine or {}),
            **{f"gpu_{name}": value for name, value in first.items()},
            "gpus": gpus or [],
        }
