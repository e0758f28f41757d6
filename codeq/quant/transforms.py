"""Whether PyTorch transforms what is computed, or computes it as written."""

import torch


def is_transformed() -> bool:
    """Whether torch.compile traces, or a transform of torch.func (vmap, grad) is active.

    An autograd function with a `vmap` and a `setup_context` pays for them at every call, most of a small layer's time;
    asked before, one without them can stand in for it.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
