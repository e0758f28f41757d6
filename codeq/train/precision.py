"""The precision of the layers' arithmetic; weights, quantizers, logits and optimizer state are always float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16"]


def set_precision(wanted: Literal["auto", "fp32", "tf32", "bf16"], device: torch.device) -> Precision:
    """Return the precision that `wanted` means on `device`; sets the float32 matmul precision of this process.

    auto: bf16 on CUDA devices that support it, else fp32. tf32: float32 with a mantissa of 10 bits in matrix products
    and convolutions, on CUDA only; other devices compute in float32.
    """
    precision = _automatic(device) if wanted == "auto" else wanted
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
    return precision


def _automatic(device: torch.device) -> Precision:
    has_bf16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if has_bf16 else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which layers compute in `precision`. Cast weights are not cached: a graph recorded inside
    would reuse those of the first step."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
