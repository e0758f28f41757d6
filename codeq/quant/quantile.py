"""The exact quantile of a whole tensor, by selecting its largest elements instead of sorting all of them."""

import math
import struct

import torch
from torch import Tensor

# Below this many elements one `topk` is quicker than the filtering in front of it.
_FILTER_FROM = 8192


def quantile(x: Tensor, q: float) -> Tensor:
    """The linearly interpolated `q`-quantile of all elements of `x`, without gradient -> scalar tensor [].

    x: any shape, at least one element, any number of them (`torch.quantile` used to stop at 2**24).
    q: 0..1; the nearer to 1, the less there is to select. A NaN anywhere in `x` gives NaN.
    Equals `torch.quantile(x, q)` bit for bit on finite float32 and float64 input. Works under vmap.

    Raises ValueError: `x` is empty, or `q` lies outside 0..1.
    """
    if x.numel() == 0 or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile of {x.numel()} elements at q = {q}: needs an element and 0 <= q <= 1")
    rank = _rank(x.numel(), q, x.dtype)
    below = math.floor(rank)
    top = _largest(x.detach().flatten(), x.numel() - below)
    value = _interpolate_lowest(top, rank - below)
    largest = top.amax()  # amax and topk both rank NaN highest: this one is NaN if any element is
    return torch.where(largest.isnan(), largest, value)


def _rank(count: int, q: float, dtype: torch.dtype) -> float:
    """Where the quantile lies in ascending order, from 0 to count - 1.

    As in `torch.quantile`, `q` itself has the tensor's precision: 0.99 in float32 is 1e-8 too large. That
    lets a checkpoint evaluate to the digit as it did where it was trained.
    """
    return (q if dtype == torch.float64 else _to_float32(q)) * (count - 1)


def _to_float32(value: float) -> float:
    """`value` rounded to the nearest float32."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _interpolate_lowest(top: Tensor, fraction: float) -> Tensor:
    """The point `fraction` (0..1, 1 excluded) of the way from the lowest of `top` [k] to its next lowest."""
    if fraction == 0.0:
        return top.amin()
    lowest, second = top.topk(2, largest=False).values.unbind()
    return torch.lerp(lowest, second, fraction)


def _largest(x: Tensor, k: int) -> Tensor:
    """The `k` largest elements of `x` [n], in no particular order -> [k]."""
    # A CPU's topk costs about 5 ns an element; a GPU's is quick, and more launches would only slow it down.
    if x.device.type == "cpu" and x.numel() >= _FILTER_FROM:
        for power in (2 / 3, 1 / 2):  # two filters of these sizes leave the fewest elements to look at
            x = _best_groups(x, k, int((x.numel() / k) ** power))
    return x.topk(k, sorted=False).values


def _best_groups(x: Tensor, k: int, size: int) -> Tensor:
    """A part of `x` [n] that holds its `k` largest elements: its `k` best groups -> [k * size + n % size].

    Exact: each of the `k` groups kept has a maximum of at least the value of any element left out.
    """
    groups = x.numel() // size
    if size < 2:
        return x
    table = x[: size * groups].view(size, groups)  # a group is a column, so that amax runs along memory
    best = table.amax(dim=0).topk(k, sorted=False).indices
    return torch.cat((table.index_select(1, best).flatten(), x[size * groups :]))
