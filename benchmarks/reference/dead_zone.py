"""The dead-zone quantizer transcribed equation by equation, slow and simple: the reference for correctness and speed.

CoDeQ, arXiv 2512.12981. Shares no code with `codeq`; autograd derives the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Through(torch.autograd.Function):
    """Return the value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def through(x: Tensor, op: Callable[[Tensor], Tensor]) -> Tensor:
    """`op(x)`, differentiated as if it were `x`."""
    result: Tensor = _Through.apply(x, op(x.detach()))
    return result


def torch_quantile(magnitude: Tensor) -> Tensor:
    """The 0.99 quantile by sorting."""
    return torch.quantile(magnitude.flatten(), 0.99)


def kthvalue_quantile(magnitude: Tensor) -> Tensor:
    """The 0.99 quantile by selecting its two neighbours: faster than sorting, and without a limit on the size."""
    flat = magnitude.flatten()
    rank = 0.99 * (flat.numel() - 1)
    below = math.floor(rank)
    lower = flat.kthvalue(below + 1).values
    upper = flat.kthvalue(min(below + 2, flat.numel())).values
    return torch.lerp(lower, upper, rank - below)


def literal_bits(logit_bit: Tensor, max_bits: float) -> Tensor:
    """The learnable bit-width."""
    b_min = 2
    return through(torch.abs(torch.tanh(logit_bit)) * (max_bits - b_min) + b_min, torch.round)  # (18)


def literal_quantize(w: Tensor, d: Tensor, s: Tensor, Q: Tensor) -> Tensor:
    """`w` with the dead zone `d`, the step `s` and the largest level `Q`."""
    delta = d / 2 - s / 2  # (10)
    sign = torch.sign(w.detach())
    magnitude = sign * w
    ratio = sign * through(magnitude - delta, torch.relu) / s
    q = through(through(ratio, torch.round), lambda x: torch.clip(x, -Q.detach(), Q.detach()))
    return s * q + delta * torch.sign(q.detach())


def literal_dead_zone(
    w: Tensor,
    logit_dz: Tensor,
    logit_bit: Tensor | None = None,
    *,
    fixed_bit_val: float = 4,
    max_bits: float = 8,
    quantile: Callable[[Tensor], Tensor] = torch_quantile,
) -> Tensor:
    """One layer's forward pass; `logit_bit` None: the bit-width is `fixed_bit_val`."""
    R = quantile(torch.abs(w.detach()))
    d = 2 * R * (1 - torch.abs(torch.tanh(logit_dz)))  # (15)
    b = torch.tensor(float(fixed_bit_val)) if logit_bit is None else literal_bits(logit_bit, max_bits)
    Q = 2 ** (b - 1) - 1
    s = (R - d / 2) / (Q - 1 / 2) + 1e-8  # (12)
    return literal_quantize(w, d, s, Q)
