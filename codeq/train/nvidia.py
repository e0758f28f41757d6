"""What the NVIDIA driver tells of this machine's GPUs through its library, NVML; imports no torch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NvidiaDriver:
    """version: such as `570.86.15`. cuda: the newest CUDA version that it supports, such as (12, 8). gpus: the names of
    the GPUs, one or more, without those that CUDA_VISIBLE_DEVICES hides.
    """

    version: str
    cuda: tuple[int, int]
    gpus: tuple[str, ...]


def nvidia_driver() -> NvidiaDriver | None:
    """The driver; None if there is none, or no GPU to use. Ray finds GPUs in the same way."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        count, cuda = ctypes.c_uint(), ctypes.c_int()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
        gpus = _visible(tuple(_name(nvml, index) for index in range(count.value)))
        version = _text(nvml.nvmlSystemGetDriverVersion)
    finally:
        nvml.nvmlShutdown()
    return NvidiaDriver(version, (cuda.value // 1000, cuda.value % 1000 // 10), gpus) if gpus else None


def _name(nvml: Any, index: int) -> str:
    device = ctypes.c_void_p()
    nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device))
    return _text(lambda *arguments: nvml.nvmlDeviceGetName(device, *arguments))


def _text(function: Callable[..., Any]) -> str:
    """The text that a function of NVML writes into memory that it is given, with its size."""
    buffer = ctypes.create_string_buffer(96)
    function(buffer, ctypes.c_uint(len(buffer)))
    return buffer.value.decode("utf-8", "replace")


def _visible(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that CUDA_VISIBLE_DEVICES leaves; CUDA ignores its entries from the first one that is no GPU on."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return names
    found: list[str] = []
    for entry in variable.split(","):
        entry = entry.strip()
        if entry.isdecimal() and int(entry) < len(names):
            found.append(names[int(entry)])
        elif entry.startswith(("GPU-", "MIG-")):
            found.append(entry)
        else:
            break
    return tuple(found)
