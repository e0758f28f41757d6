"""Moves tensors from the host to the device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`; on CUDA without waiting for the work queued there.

    CUDA has copied a pageable tensor before the call returns, and keeps a pinned one alive until it is copied.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
