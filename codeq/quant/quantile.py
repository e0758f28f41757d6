"""The exact quantile of all elements of a tensor, without sorting and without a read on the host."""

import math

import torch
from torch import Tensor

_GROUPED_FROM = 16_384
"""Below this number of elements, selecting among all of them is faster than selecting groups first."""


def quantile(x: Tensor, q: float) -> Tensor:
    """Return the linearly interpolated `q`-quantile of each row of `x`, without gradient.

    x: [..., n] -> [...], with n >= 1 of any size (old versions of `torch.quantile` stop at 2**24).
    q: 0..1, fastest near 1. A NaN in a row gives NaN.

    Raises ValueError if a row is empty or `q` is outside 0..1.
    """
    n = x.shape[-1]
    if n == 0 or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile of {n} elements at q = {q}: needs an element and 0 <= q <= 1")
    rank = q * (n - 1)
    below = math.floor(rank)
    largest = _largest(x.detach(), n - below)  # descending
    upper = largest[..., -2] if n - below > 1 else largest[..., -1]
    # Propagates NaN, which ranks highest; otherwise the minimum with the largest element changes nothing.
    return torch.lerp(largest[..., -1], upper, rank - below).minimum(largest[..., 0])


def _largest(x: Tensor, k: int) -> Tensor:
    """Select the `k` largest elements of each row of `x` [..., n] -> [..., k], in descending order, NaN first.

    They all lie in the `k` groups whose maxima are the largest. With groups of sqrt(n / k) elements there are as many
    maxima to select from as elements in the selected groups.
    """
    n = x.shape[-1]
    size = int(math.sqrt(n / k))
    if n >= _GROUPED_FROM and size > 1:
        grouped = n // size * size
        groups = x[..., :grouped].unflatten(-1, (size, -1))  # a group is a column
        chosen = groups.amax(-2).topk(k, sorted=False).indices.unsqueeze(-2)
        selected = groups.gather(-1, chosen.expand(*groups.shape[:-1], k)).flatten(-2)
        x = torch.cat([selected, x[..., grouped:]], dim=-1)
    return x.topk(k).values
