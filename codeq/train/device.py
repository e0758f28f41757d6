"""Selection and settings of the device that trains."""

from __future__ import annotations

import atexit
import gc
from functools import cache

import torch


def prepare_device(name: str, threads: int | None) -> torch.device:
    """Return the device `name`; `auto` is the first available of CUDA, MPS, CPU. Turns on cuDNN's autotuner.

    threads: CPU threads for arithmetic, None: unchanged. Raises ValueError if the device is not available.
    """
    _freeze_imported_objects()
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
    """Return the number of CUDA devices that PyTorch sees."""
    return torch.cuda.device_count()


def free_cached_memory() -> None:
    """Return PyTorch's cached but unused GPU memory to the GPU, which other processes may share."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def is_device_lost(error: BaseException) -> bool:
    """Whether `error` says that this process can no longer use its GPU; only a new process can continue."""
    return type(error).__name__ == "AcceleratorError"


def synchronize(device: torch.device) -> None:
    """Wait until the GPU has finished its queued work, so that a clock read afterwards includes it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def _freeze_imported_objects() -> None:
    """Exclude the objects of imported modules from garbage collection: scanning them takes 0.14 s every few epochs."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries report an error if frozen objects are not collected when Python exits
