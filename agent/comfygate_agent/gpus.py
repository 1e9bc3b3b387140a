"""The GPUs: by NVIDIA's management library, else as far as PyTorch knows them, else none."""

import os
import sys

from .values import mebibytes, number, percent, present

try:
    import pynvml
except Exception:
    pynvml = None

# More are not told of.
MOST = 64


class Gpus:
    """Reads the GPUs; each call may take as long as a driver that hangs."""

    def __init__(self, nvml=pynvml, torch=None, environment=os.environ):
        self._nvml = nvml
        self._torch = torch
        self._environment = environment
        self._is_begun = False

    def read(self):
        """Returns a list with one entry for each GPU."""
        return self._by_nvml() or self._by_torch()

    def _by_nvml(self):
        nvml = self._nvml
        if nvml is None:
            return []
        try:
            if not self._is_begun:
                nvml.nvmlInit()
                self._is_begun = True
            count = min(nvml.nvmlDeviceGetCount(), MOST)
            handles = [(index, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
            return [self._nvml_gpu(nvml, index, handle) for index, handle in self._visible(nvml, handles)]
        except Exception:
            # The next reading begins anew: the driver may have been loaded since.
            if self._is_begun:
                self._is_begun = False
                told(lambda: nvml.nvmlShutdown())
            return []

    def _visible(self, nvml, handles):
        """Leaves those that this ComfyUI was given by CUDA_VISIBLE_DEVICES, in its order: a machine with several GPUs often
        has a ComfyUI for each. All of them where it names none that there is."""
        names = self._environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        chosen = []
        for name in filter(None, map(str.strip, names)):
            for index, handle in handles:
                is_named = name == str(index) or (
                    name.startswith("GPU-") and (text(told(lambda: nvml.nvmlDeviceGetUUID(handle))) or "").startswith(name)
                )
                if is_named and (index, handle) not in chosen:
                    chosen.append((index, handle))
        return chosen or handles

    @staticmethod
    def _nvml_gpu(nvml, index, handle):
        memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        rates = told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        return present({
            "index": index,
            "name": text(told(lambda: nvml.nvmlDeviceGetName(handle))),
            "memory_total_mb": mebibytes(getattr(memory, "total", None)),
            "memory_used_mb": mebibytes(getattr(memory, "used", None)),
            "utilization_percent": percent(getattr(rates, "gpu", None)),
            # 0 is NVML_TEMPERATURE_GPU, the sensor on the chip.
            "temperature_c": number(told(lambda: nvml.nvmlDeviceGetTemperature(handle, 0))),
        })

    def _by_torch(self):
        # ComfyUI has imported it long ago; where it has not, importing it would take seconds.
        torch = self._torch or sys.modules.get("torch")
        for kind in (self._torch_cuda, self._torch_xpu, self._torch_mps):
            gpus = told(lambda: kind(torch)) if torch else None
            if gpus:
                return gpus
        return []

    @staticmethod
    def _torch_cuda(torch):
        """NVIDIA's without their library, and AMD's, which PyTorch calls CUDA too."""
        cuda = torch.cuda
        return [torch_gpu(cuda, index) for index in range(min(cuda.device_count(), MOST))] if cuda.is_available() else []

    @staticmethod
    def _torch_xpu(torch):
        """Intel's."""
        xpu = torch.xpu
        return [torch_gpu(xpu, index) for index in range(min(xpu.device_count(), MOST))] if xpu.is_available() else []

    @staticmethod
    def _torch_mps(torch):
        """Apple's, whose memory is the machine's."""
        if not torch.backends.mps.is_available():
            return []
        return [present({
            "index": 0,
            "name": "Apple MPS",
            "memory_total_mb": mebibytes(told(lambda: torch.mps.recommended_max_memory())),
            "memory_used_mb": mebibytes(told(lambda: torch.mps.driver_allocated_memory())),
        })]


def torch_gpu(devices, index):
    """Returns what PyTorch says of one device of a kind."""
    free, total = None, told(lambda: devices.get_device_properties(index).total_memory)
    # To be asked this, a device that is not used yet would be set up, which takes hundreds of megabytes of it.
    is_main = index == 0 and told(lambda: devices.is_initialized())
    if is_main or told(lambda: devices.memory_reserved(index)):
        free, total = told(lambda: devices.mem_get_info(index)) or (None, total)
    return present({
        "index": index,
        "name": text(told(lambda: devices.get_device_name(index))),
        "memory_total_mb": mebibytes(total),
        "memory_used_mb": mebibytes(total - free) if free is not None else None,
    })


def told(question):
    """Returns an answer, or None where there is none: a card may lack a sensor, and a driver a function."""
    try:
        return question()
    except Exception:
        return None


def text(name):
    """Returns a name as text; old libraries give bytes."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    return name[:100] if isinstance(name, str) and name else None
