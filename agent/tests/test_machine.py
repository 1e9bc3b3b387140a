import os
import tempfile
import unittest

from comfygate_agent.machine import Machine

from .support import Psutil


class ByPsutil(unittest.TestCase):
    def test_memory_is_told_in_mebibytes_and_what_can_be_had_is_not_used(self):
        told = Machine(Psutil(total=1000, available=250, rss=7)).read()
        self.assertEqual((told["ram_total_mb"], told["ram_used_mb"], told["process_rss_mb"]), (1000.0, 750.0, 7.0))

    def test_the_processors_share_is_that_of_the_time_since_the_last_reading(self):
        machine = Machine(Psutil(
            {"user": 10.0, "system": 0.0, "idle": 90.0, "iowait": 0.0, "guest": 5.0},
            {"user": 40.0, "system": 0.0, "idle": 150.0, "iowait": 10.0, "guest": 35.0},
            {"user": 140.0, "system": 0.0, "idle": 150.0, "iowait": 10.0, "guest": 35.0},
        ))
        self.assertEqual(machine.read()["cpu_percent"], 30.0)
        self.assertEqual(machine.read()["cpu_percent"], 100.0)

    def test_where_no_time_has_passed_the_last_share_still_holds(self):
        machine = Machine(Psutil({"user": 1.0, "idle": 1.0}, {"user": 2.0, "idle": 4.0}))
        self.assertEqual([machine.read()["cpu_percent"] for _ in range(3)], [25.0, 25.0, 25.0])

    def test_before_a_share_is_known_none_is_told(self):
        self.assertNotIn("cpu_percent", Machine(Psutil()).read())


class ByProc(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.proc = folder.name
        os.mkdir(os.path.join(self.proc, "self"))

    def write(self, name, text):
        with open(os.path.join(self.proc, name), "w", encoding="ascii") as file:
            file.write(text)

    def test_without_psutil_the_kernels_files_are_read(self):
        self.write("stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
        self.write("meminfo", "MemTotal:     2048000 kB\nMemFree: 1 kB\nMemAvailable:  1024000 kB\n")
        self.write("self/statm", "900 512 30 1 0 1 0\n")
        machine = Machine(None, self.proc)
        self.write("stat", "cpu  140 0 110 730 120 0 0 0 0 0\ncpu0 1 1 1 1\n")
        resident = round(512 * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024, 1)
        self.assertEqual(machine.read(), {
            "cpu_percent": 50.0, "ram_total_mb": 2000.0, "ram_used_mb": 1000.0, "process_rss_mb": resident,
        })

    def test_without_either_nothing_is_told_and_nothing_fails(self):
        self.assertEqual(Machine(None, os.path.join(self.proc, "nowhere")).read(), {})
        self.write("stat", "intr 5 6\n")
        self.write("meminfo", "MemTotal: many kB\n")
        self.write("self/statm", "")
        self.assertEqual(Machine(None, self.proc).read(), {})

    def test_a_psutil_that_fails_is_as_good_as_none(self):
        self.write("meminfo", "MemTotal:     2048000 kB\nMemAvailable:  1024000 kB\n")
        self.assertEqual(Machine(object(), self.proc).read(), {"ram_total_mb": 2000.0, "ram_used_mb": 1000.0})

    @unittest.skipUnless(os.path.exists("/proc/stat"), "needs Linux")
    def test_on_this_machine_it_tells_something_plausible(self):
        told = Machine(None).read()
        self.assertGreater(told["ram_total_mb"], told["ram_used_mb"])
        self.assertGreater(told["process_rss_mb"], 1)
