import unittest
from types import SimpleNamespace

from comfygate_agent.gpus import Gpus

from .support import Nvml, TorchDevices, card


class ByNvml(unittest.TestCase):
    def gpus(self, *cards, environment=None):
        return Gpus(Nvml(*cards), SimpleNamespace(), environment or {}).read()

    def test_a_card_is_told_with_everything_that_it_says(self):
        self.assertEqual(self.gpus(card()), [{
            "index": 0, "name": "NVIDIA A", "memory_total_mb": 24576.0, "memory_used_mb": 1024.0,
            "utilization_percent": 37.0, "temperature_c": 61.0,
        }])

    def test_two_cards_are_told_in_their_order(self):
        told = self.gpus(card(), card(name=b"NVIDIA B", temperature=44))
        self.assertEqual([(gpu["index"], gpu["name"], gpu["temperature_c"]) for gpu in told], [
            (0, "NVIDIA A", 61.0), (1, "NVIDIA B", 44.0),
        ])

    def test_a_sensor_that_a_card_lacks_is_left_out_and_the_rest_stays(self):
        lacking = RuntimeError("Not Supported")
        told = self.gpus(card(temperature=lacking, utilization=lacking), card(memory=lacking, name=lacking))
        self.assertEqual(told[0].keys(), {"index", "name", "memory_total_mb", "memory_used_mb"})
        self.assertEqual(told[1].keys(), {"index", "utilization_percent", "temperature_c"})

    def test_numbers_that_make_no_sense_are_left_out(self):
        told = self.gpus(card(utilization=4294967295, temperature=float("nan")))
        self.assertEqual(told[0].keys(), {"index", "name", "memory_total_mb", "memory_used_mb"})

    def test_only_the_cards_that_this_comfyui_was_given_are_told(self):
        cards = [card(uuid="GPU-aa11"), card(uuid="GPU-bb22"), card(uuid="GPU-cc33")]
        for names, indices in [
            ("1", [1]), ("2,0", [2, 0]), ("GPU-bb", [1]), ("GPU-cc33, 0", [2, 0]), ("2,2", [2]), ("7", [0, 1, 2]),
            ("", [0, 1, 2]), ("-1", [0, 1, 2]),
        ]:
            told = self.gpus(*cards, environment={"CUDA_VISIBLE_DEVICES": names})
            self.assertEqual([gpu["index"] for gpu in told], indices, names)

    def test_a_library_without_a_driver_is_no_gpu(self):
        nvml = Nvml(card())
        nvml.init_error = RuntimeError("Driver Not Loaded")
        gpus = Gpus(nvml, SimpleNamespace(), {})
        self.assertEqual(gpus.read(), [])
        nvml.init_error = None
        self.assertEqual(len(gpus.read()), 1, "a driver that was loaded since is found")

    def test_a_library_that_raises_is_begun_anew(self):
        nvml = Nvml(card())
        gpus = Gpus(nvml, SimpleNamespace(), {})
        gpus.read()
        count, nvml.nvmlDeviceGetCount = nvml.nvmlDeviceGetCount, None
        self.assertEqual((gpus.read(), nvml.begun), ([], 0))
        nvml.nvmlDeviceGetCount = count
        self.assertEqual((len(gpus.read()), len(gpus.read()), nvml.begun), (1, 1, 1))


class ByTorch(unittest.TestCase):
    def gpus(self, **kinds):
        nothing = TorchDevices()
        kinds = {"cuda": nothing, "xpu": nothing, "backends": SimpleNamespace(mps=nothing), **kinds}
        return Gpus(None, SimpleNamespace(**kinds), {}).read()

    def test_without_the_library_pytorch_tells_names_and_memory(self):
        amd = {"index": 0, "name": "AMD R", "memory_total_mb": 16384.0, "memory_used_mb": 384.0}
        self.assertEqual(self.gpus(cuda=TorchDevices(("AMD R", 16384, 384), used=[0])), [amd])
        intel = TorchDevices(("Intel A", 8192, 92), used=[0])
        self.assertEqual([(gpu["name"], gpu["memory_used_mb"]) for gpu in self.gpus(xpu=intel)], [("Intel A", 92.0)])

    def test_a_device_that_is_not_used_is_not_set_up_only_to_ask_it(self):
        cuda = TorchDevices(("A", 100, 10), ("B", 200, 20), ("C", 300, 30), used=[0, 2])
        told = self.gpus(cuda=cuda)
        self.assertEqual(cuda.asked, [0, 2])
        self.assertEqual([gpu.get("memory_used_mb") for gpu in told], [10.0, None, 30.0])
        self.assertEqual([gpu["memory_total_mb"] for gpu in told], [100.0, 200.0, 300.0])
        idle = TorchDevices(("A", 100, 10))
        self.gpus(cuda=idle)
        self.assertEqual(idle.asked, [])

    def test_apples_memory_is_told(self):
        mps = SimpleNamespace(recommended_max_memory=lambda: 1 << 30, driver_allocated_memory=lambda: 1 << 20)
        told = self.gpus(mps=mps, backends=SimpleNamespace(mps=TorchDevices(("M", 1, 1))))
        self.assertEqual(told, [{"index": 0, "name": "Apple MPS", "memory_total_mb": 1024.0, "memory_used_mb": 1.0}])

    def test_without_a_gpu_there_is_none(self):
        self.assertEqual(self.gpus(), [])
        self.assertEqual(Gpus(None, SimpleNamespace(), {}).read(), [], "a PyTorch that knows none of it")
        self.assertEqual(Gpus(None, None, {}).read(), [], "no PyTorch at all")
