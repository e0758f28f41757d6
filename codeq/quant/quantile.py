"""The exact quantile of all elements, by selecting the largest of them instead of sorting.

On a CPU NumPy selects: it takes a third of the time of PyTorch's `topk` and needs no dispatcher. A sample of a large
tensor tells which few elements can be among the largest; the selection among those is exact.
"""

import math
import struct
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

Floats = np.ndarray[Any, np.dtype[np.floating]]

_SAMPLED_FROM = 32_768
"""Below this many elements, selecting among all of them is quicker than sampling first."""
_SAMPLE_STRIDE = 61  # prime, so that a sample of a matrix meets all of its columns


def quantile(x: Tensor, q: float) -> Tensor:
    """The linearly interpolated `q`-quantile of all elements of `x`, without gradient -> scalar tensor [].

    x: any shape, at least one element, any number of them (`torch.quantile` used to stop at 2**24).
    q: 0..1; the nearer to 1, the less there is to select. A NaN anywhere in `x` gives NaN.
    Equals `torch.quantile(x, q)` bit for bit on finite float32 and float64 input. Works under vmap.

    Raises ValueError: `x` is empty, or `q` lies outside 0..1.
    """
    if x.numel() == 0 or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile of {x.numel()} elements at q = {q}: needs an element and 0 <= q <= 1")
    result: Tensor = _operator(x.detach().flatten(), q)
    return result


def row_quantiles(x: Tensor, q: float) -> Tensor:
    """`quantile` of every row of `x` [..., n] -> [...]; inside vmap use `quantile`."""
    if torch.compiler.is_compiling():
        compiled: Tensor = _operator(x, q)
        return compiled
    rank = _rank(x.shape[-1], q, x.dtype)
    below = math.floor(rank)
    select = _lowest_two_on_host if on_host(x) else _lowest_two
    return torch.lerp(*select(x, x.shape[-1] - below), rank - below)


def on_host(x: Tensor) -> bool:
    """Whether NumPy can work on `x` as it lies in memory; never so while compiling."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling()


@torch.library.custom_op("codeq::row_quantiles", mutates_args=())
def _operator(x: Tensor, q: float) -> Tensor:
    """`row_quantiles` as the compiler and vmap take it: one operator that they do not look into."""
    return row_quantiles(x, q)


@_operator.register_fake
def _shape(x: Tensor, q: float) -> Tensor:
    return x.new_empty(x.shape[:-1])


@_operator.register_vmap
def _stacked(info: Any, in_dims: tuple[int | None, None], x: Tensor, q: float) -> tuple[Tensor, int]:
    return _operator(x.movedim(cast(int, in_dims[0]), 0), q), 0  # vmap comes here for a stacked `x` only


@lru_cache
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


def _lowest_two(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The lowest and the second lowest of each row's `k` largest elements; twice the only one where `k` is 1.

    Both NaN where the row has a NaN: `amax` and `topk` rank it highest.
    """
    top = x.topk(k, sorted=False).values
    lowest = top.topk(min(k, 2), largest=False).values
    largest = top.amax(-1)
    missing = largest.isnan()
    return torch.where(missing, largest, lowest[..., 0]), torch.where(missing, largest, lowest[..., -1])


def _lowest_two_on_host(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`_lowest_two` of a tensor that `on_host` accepts."""
    rows = x.numpy()
    if x.shape[-1] < _SAMPLED_FROM:
        lowest, second = _partitioned(rows, k)
    else:
        pairs = [_partitioned(_candidates(row, k), k) for row in rows.reshape(-1, x.shape[-1])]
        lowest, second = (np.array(values).reshape(x.shape[:-1]) for values in zip(*pairs, strict=True))
    return torch.from_numpy(np.asarray(lowest)), torch.from_numpy(np.asarray(second))


def _partitioned(rows: Floats, k: int) -> tuple[Floats, Floats]:
    """The lowest and the second lowest of the `k` largest of each of `rows` [..., n], NaN ranking highest."""
    at = rows.shape[-1] - k
    parts = np.partition(rows, at, axis=-1)
    lowest = parts[..., at]
    # NumPy's minimum is NaN where there is one.
    return lowest, np.minimum.reduce(parts[..., at + 1 :], axis=-1) if k > 1 else lowest


def _candidates(row: Floats, k: int) -> Floats:
    """A part of `row` [n] that holds its `k` largest elements and any NaN; all of it where no sample helps."""
    sample = row[::_SAMPLE_STRIDE]
    expected = k / _SAMPLE_STRIDE
    rank = int(expected + 4 * math.sqrt(expected)) + 8  # too few candidates once in some ten thousand times
    if rank >= sample.size:
        return row
    threshold = np.partition(sample, -rank)[-rank]
    candidates = row[np.flatnonzero(~(row < threshold))]
    return candidates if candidates.size >= k else row
