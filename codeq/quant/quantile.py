"""The exact quantile of all elements of a tensor, without sorting them and without a read on the host."""

import math

import torch
from torch import Tensor

_GROUPED_FROM = 16_384
"""Below this many elements, selecting among all of them is quicker than selecting groups first."""


def quantile(x: Tensor, q: float) -> Tensor:
    """The linearly interpolated `q`-quantile of all elements of `x`, without gradient -> scalar tensor [].

    x: any shape, at least one element, any number of them (`torch.quantile` used to stop at 2**24).
    q: 0..1; the nearer to 1, the less there is to select. A NaN anywhere in `x` gives NaN.

    Raises ValueError: `x` is empty, or `q` lies outside 0..1.
    """
    if x.numel() == 0 or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile of {x.numel()} elements at q = {q}: needs an element and 0 <= q <= 1")
    rank = q * (x.numel() - 1)
    below = math.floor(rank)
    largest = _largest(x.detach().flatten(), x.numel() - below)  # descending
    upper = largest[-2] if len(largest) > 1 else largest[-1]
    # The minimum with the largest element changes nothing but this: it is NaN if that is, and NaN ranks highest.
    return torch.lerp(largest[-1], upper, rank - below).minimum(largest[0])


def _largest(x: Tensor, k: int) -> Tensor:
    """The `k` largest elements of `x` [n] -> [k], in descending order, NaN ranking highest.

    They all lie in the `k` groups whose maxima are the largest. With groups of sqrt(n / k) elements there are as many
    maxima to select from as elements in the selected groups.
    """
    size = int(math.sqrt(len(x) / k))
    if len(x) >= _GROUPED_FROM and size > 1:
        groups = x[: len(x) // size * size].view(size, -1)  # a group is a column
        chosen = groups.amax(0).topk(k, sorted=False).indices
        x = torch.cat([groups.index_select(1, chosen).flatten(), x[groups.numel() :]])
    return x.topk(k).values
