"""What the machine and this process use: by psutil, else by /proc, else not at all."""

import os

from .values import mebibytes, percent, present

try:
    import psutil
except Exception:
    psutil = None


class Machine:
    """Reads the processor's time, the memory and this process's share of it."""

    def __init__(self, psutil=psutil, proc="/proc"):
        self._psutil = psutil
        self._proc = proc
        self._last_times = {}
        self._last_percent = None
        self.read()

    def read(self):
        """Returns what there is to know now; the processor's share is that of the time since the call before."""
        total, used = self._told(self._memory) or (None, None)
        return present({
            "cpu_percent": self._told(self._cpu_percent),
            "ram_total_mb": mebibytes(total),
            "ram_used_mb": mebibytes(used),
            "process_rss_mb": mebibytes(self._told(self._resident)),
        })

    def _told(self, question):
        """Asks psutil and, where that is missing or fails, /proc."""
        for source in ([self._psutil] if self._psutil else []) + [None]:
            try:
                return question(source)
            except Exception:
                continue
        return None

    def _cpu_percent(self, psutil):
        # psutil.cpu_percent() compares with the call before of the same thread, and every reading has a new one.
        times = self._cpu_times(psutil)
        total, idle = (now - before for now, before in zip(times, self._last_times.get(psutil, times)))
        # Clocks of processors tick a hundred times a second, and between two ticks nothing can be said.
        if total > 0:
            self._last_percent = percent(min(max(100 * (total - idle) / total, 0), 100))
        if total != 0 or psutil not in self._last_times:
            self._last_times[psutil] = times
        return self._last_percent

    def _cpu_times(self, psutil):
        """Returns the seconds or ticks of all processors since the start: all of them, and those without work."""
        if psutil:
            times = psutil.cpu_times()._asdict()
            # Linux counts the time of virtual machines as the users', too.
            total = sum(times.values()) - times.get("guest", 0) - times.get("guest_nice", 0)
            return total, times["idle"] + times.get("iowait", 0)
        with open(os.path.join(self._proc, "stat"), encoding="ascii") as file:
            name, *ticks = file.readline().split()
        if name != "cpu":
            raise ValueError("no line of all processors")
        # user nice system idle iowait irq softirq steal; what follows is among the users' already.
        ticks = [int(tick) for tick in ticks[:8]]
        return sum(ticks), sum(ticks[3:5])

    def _memory(self, psutil):
        """Returns the bytes that there are, and those that cannot be had any more."""
        if psutil:
            memory = psutil.virtual_memory()
            return memory.total, memory.total - memory.available
        lines = {}
        with open(os.path.join(self._proc, "meminfo"), encoding="ascii") as file:
            for line in file:
                name, _, rest = line.partition(":")
                lines[name] = rest.split()
        total, available = (int(lines[name][0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return total, total - available

    def _resident(self, psutil):
        """Returns how many bytes of memory this process has."""
        if psutil:
            return psutil.Process().memory_info().rss
        with open(os.path.join(self._proc, "self", "statm"), encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
