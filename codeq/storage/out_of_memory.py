"""Out of memory, on a GPU or on the machine: repeating does not help, so it ends a trial at once, with what would."""

from __future__ import annotations

import errno
import re

from codeq.config.text import one_line
from codeq.storage.machine_fault import causes

ADVICE = "a smaller batch_size, or fewer trials at a time (sweep.max_concurrent), needs less"
_GPU = "OutOfMemoryError"
"""The name of PyTorch's exception, which takes seconds to import."""
_TEXTS = re.compile(
    "CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|DefaultCPUAllocator: (can't allocate|not enough) memory"
)


def out_of_memory(error: BaseException) -> str | None:
    """Return one line that says that `error`, or a cause of it, is a lack of memory, and what to change; else None."""
    for cause in causes(error):
        is_host = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        if is_host or type(cause).__name__ == _GPU or _TEXTS.search(str(cause)):
            return describe_out_of_memory(one_line(cause).partition(" GPU ")[0])  # a paragraph about the GPU follows
    return None


def describe_out_of_memory(detail: str) -> str:
    """Return the line for a user; detail: what the library tells."""
    return f"out of memory: {ADVICE}" + (f" ({detail})" if detail else "")
