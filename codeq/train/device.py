"""The device to train on, set up for speed."""

from __future__ import annotations

import atexit
import gc
from functools import cache

import torch


def prepare_device(name: str, threads: int | None) -> torch.device:
    """The device called `name`; `auto` is CUDA, then MPS, then the CPU. Turns on cudnn's autotuner.

    threads: CPU threads for arithmetic, None: as they are. Raises ValueError if the device is not there.
    """
    _spare_the_imported()
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device(_first_available() if name == "auto" else name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device: {name} was asked for, but PyTorch sees no CUDA device; use auto or cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device: {name} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
        torch.backends.cudnn.benchmark = True
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device: mps was asked for, but PyTorch sees none; use auto or cpu")
    return device


def _first_available() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def gpu_count() -> int:
    """CUDA devices that PyTorch sees."""
    return torch.cuda.device_count()


def free_cached_memory() -> None:
    """Give a GPU's memory back that PyTorch keeps of what was freed: other processes may share the GPU."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def is_device_lost(error: BaseException) -> bool:
    """Whether `error` says that the process's GPU is lost: only another process can go on."""
    return type(error).__name__ == "AcceleratorError"


def synchronize(device: torch.device) -> None:
    """Until a GPU has done what it was given, so that a clock read now counts it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def _spare_the_imported() -> None:
    """Keep Python's collector from looking through what imports have made: 0.14 s each time, every few epochs."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # what is frozen is not cleaned up when Python ends, of which some libraries complain
