"""What several tests use: libraries and clocks that say what a test wants."""

from types import SimpleNamespace

MIB = 1024 * 1024


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Nvml:
    """NVIDIA's library as far as the agent calls it. `cards` are dictionaries; a value that is an exception is raised."""

    def __init__(self, *cards):
        self.cards = cards
        self.begun = 0
        self.init_error = None

    def nvmlInit(self):
        if self.init_error:
            raise self.init_error
        self.begun += 1

    def nvmlShutdown(self):
        self.begun -= 1

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card):
        return self._say(card, "uuid")

    def nvmlDeviceGetName(self, card):
        return self._say(card, "name")

    def nvmlDeviceGetMemoryInfo(self, card):
        total, used = self._say(card, "memory")
        return SimpleNamespace(total=total * MIB, used=used * MIB, free=(total - used) * MIB)

    def nvmlDeviceGetUtilizationRates(self, card):
        return SimpleNamespace(gpu=self._say(card, "utilization"), memory=1)

    def nvmlDeviceGetTemperature(self, card, sensor):
        assert sensor == 0
        return self._say(card, "temperature")

    @staticmethod
    def _say(card, what):
        if isinstance(card[what], Exception):
            raise card[what]
        return card[what]


def card(**different):
    """A card that answers everything."""
    usual = {"uuid": "GPU-aaaa", "name": "NVIDIA A", "memory": (24576, 1024), "utilization": 37, "temperature": 61}
    return {**usual, **different}


class TorchDevices:
    """The part of PyTorch that knows devices of one kind."""

    def __init__(self, *cards, used=()):
        self.cards = cards
        self.used = used
        self.asked = []

    def is_available(self):
        return bool(self.cards)

    def is_initialized(self):
        return bool(self.used)

    def device_count(self):
        return len(self.cards)

    def get_device_name(self, index):
        return self.cards[index][0]

    def get_device_properties(self, index):
        return SimpleNamespace(total_memory=self.cards[index][1] * MIB)

    def memory_reserved(self, index):
        return MIB if index in self.used else 0

    def mem_get_info(self, index):
        self.asked.append(index)
        total, used = self.cards[index][1:]
        return (total - used) * MIB, total * MIB


class Psutil:
    """psutil as far as the agent calls it; each call of `cpu_times` gives the next of `times`."""

    def __init__(self, *times, total=1000, available=250, rss=7):
        self.times = list(times) or [{"user": 0.0, "idle": 0.0}]
        self.memory = SimpleNamespace(total=total * MIB, available=available * MIB, used=1)
        self.rss = rss

    def cpu_times(self):
        times = self.times.pop(0) if len(self.times) > 1 else self.times[0]
        return SimpleNamespace(_asdict=lambda: times)

    def virtual_memory(self):
        return self.memory

    def Process(self):
        return SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=self.rss * MIB))
