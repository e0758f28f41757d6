"""Which errors are a lack of memory, and what is said of them."""

from __future__ import annotations

import errno

import pytest
import torch
from numpy._core._exceptions import _ArrayMemoryError

from codeq.storage.out_of_memory import ADVICE, out_of_memory

CUDA = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 10.00 GiB, 1.00 GiB is free. "
    "See documentation for Memory Management (https://pytorch.org/docs/stable/notes/cuda.html)"
)
CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8"


def caused(cause: Exception) -> Exception:
    error = RuntimeError("a network failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (torch.OutOfMemoryError(CUDA), "CUDA out of memory. Tried to allocate 2.00 GiB."),
        (RuntimeError("CUDA error: out of memory\nCompile with ..."), "CUDA error: out of memory Compile with ..."),
        (RuntimeError(CPU), CPU),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        (MemoryError(), "MemoryError"),
        (_ArrayMemoryError((1 << 40,), torch.zeros(1).numpy().dtype), "Unable to allocate 4.00 TiB for an array"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "[Errno 12] Cannot allocate memory"),
        (caused(torch.OutOfMemoryError("CUDA out of memory.")), "CUDA out of memory."),
    ],
)
def test_a_lack_of_memory_is_told_with_what_to_change(error: Exception, detail: str) -> None:
    assert str(out_of_memory(error)).startswith(f"out of memory: {ADVICE} ({detail}")


@pytest.mark.parametrize("error", [ValueError("wrong"), RuntimeError("CUDA error: unknown"), OSError(errno.EIO, "")])
def test_other_errors_are_not(error: Exception) -> None:
    assert out_of_memory(error) is None
