"""From a layer's range and logits to the grid of its dead-zone quantizer, and back from gradients to logits.

Equation numbers are those of CoDeQ, arXiv 2512.12981. Every formula holds for tensors and for what NumPy makes of
them: a dozen operations on scalars take PyTorch longer than a small layer's weights do, and NumPy a tenth of that,
with the same bits. Reading a scalar from a GPU would make the host wait, so there they stay tensors.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from codeq.quant.quantile import on_host

Scalars = Any
"""One value for each layer [*lead]: a tensor, or a NumPy scalar or array of the same precision."""


def dead_zone_width(squashed: Scalars, absmax: Scalars) -> Scalars:
    """The dead zone's width `d`, 0..2 absmax (eq. 15), of `squashed = tanh(logit)`: the nearer to 0, the wider."""
    return 2 * absmax * (1 - abs(squashed))


def bitwidth(squashed: Scalars, min_bits: Scalars, max_bits: Scalars) -> Scalars:
    """The bit-width before rounding, min_bits..max_bits (eq. 18), of `squashed = tanh(logit)`."""
    return abs(squashed) * (max_bits - min_bits) + min_bits


def largest_level(bits: Scalars) -> Scalars:
    """The largest level index `Q` of a symmetric grid of `bits` bits, 1 for 2 bits, 7 for 4."""
    return 2 ** (bits - 1) - 1


def step_size(absmax: Scalars, dead_zone: Scalars, q_max: Scalars) -> Scalars:
    """The step `s` in weight units (eq. 12): `q_max` levels from the dead zone's edge to `absmax`.

    Never 0, so that a fully pruned layer (dead_zone = 2 absmax) stays finite.
    """
    return (absmax - dead_zone / 2) / (q_max - 0.5) + 1e-8


class Grid(NamedTuple):
    """A dead-zone quantizer's grid in weight units: scalars, or for several layers at once values [*lead].

    shift: what `abs(w)` loses before scaling and gets back after (eq. 10); may be negative. step > 0: the distance
    of two levels. q_max: the largest level.
    """

    shift: Scalars
    step: Scalars
    q_max: Scalars

    @classmethod
    def of(cls, dead_zone: Scalars, step: Scalars, q_max: Scalars) -> "Grid":
        """The grid with this dead zone."""
        return cls((dead_zone - step) / 2, step, q_max)

    def beside(self, w: Tensor) -> "Grid":
        """The same as what stands beside `w` [*lead, ...] in an operation: Python numbers, or tensors [*lead, 1...]."""
        return Grid(*(_beside(w, x) for x in self))


def _beside(w: Tensor, x: Scalars) -> Tensor | float:
    if isinstance(x, np.floating):
        return float(x)
    values = x if isinstance(x, Tensor) else torch.from_numpy(x)
    return values.to(w.dtype).view(*values.shape, *[1] * (w.dim() - values.dim()))


def readable(*tensors: Tensor) -> tuple[Scalars, ...]:
    """The tensors [*lead], all on one device, as the formulas take them soonest: NumPy's if that is the host."""
    if not on_host(tensors[0]):
        return tensors
    if tensors[0].dim() == 0:
        return tuple((np.float32 if x.dtype == torch.float32 else np.float64)(x.item()) for x in tensors)
    return tuple(x.detach().numpy() for x in tensors)


class Slopes(NamedTuple):
    """The derivatives between a layer's logits and its grid, each [*lead]; the last four where bits are learned.

    levels: Q - 1/2. width_by_squashed: dd/dtanh(logit_dz). step_by_q: ds/dQ. q_by_bits: dQ/db. bits_by_squashed:
    db/dtanh(logit_bit). squashed_dz, squashed_bit: tanh of the logits.
    """

    levels: Scalars
    width_by_squashed: Scalars
    squashed_dz: Tensor
    step_by_q: Scalars = None
    q_by_bits: Scalars = None
    bits_by_squashed: Scalars = None
    squashed_bit: Tensor | None = None


def layer_grid(absmax: Tensor, logit_dz: Tensor, bits: Sequence[Tensor]) -> tuple[Grid, Slopes]:
    """The grid of a layer of range `absmax`, and its slopes.

    bits: the fixed bit-width; or where it is learned its logit, the least and the most. All are [*lead].
    """
    squashed_dz = logit_dz.tanh()
    fixed_or_squashed, *bounds = bits
    if bounds:
        fixed_or_squashed = fixed_or_squashed.tanh()
    scalars = readable(absmax, squashed_dz, fixed_or_squashed, *bounds)
    with _quiet(scalars[0]):
        grid, slopes = _chain(*scalars)
    levels, width_by_squashed, *of_bits = slopes
    squashed_bit = [fixed_or_squashed] if bounds else []
    return grid, Slopes(*[levels, width_by_squashed, squashed_dz, *of_bits, *squashed_bit])


def _chain(absmax: Scalars, squashed_dz: Scalars, bit: Scalars, *bounds: Scalars) -> tuple[Grid, tuple[Scalars, ...]]:
    bits = bitwidth(bit, *bounds).round() if bounds else bit
    q_max = largest_level(bits)
    dead_zone = dead_zone_width(squashed_dz, absmax)
    grid = Grid.of(dead_zone, step_size(absmax, dead_zone, q_max), q_max)
    levels = q_max - 0.5
    slopes = levels, -2 * absmax * _sign(squashed_dz)
    if not bounds:
        return grid, slopes
    least, most = bounds
    step_by_q = -((absmax - dead_zone / 2) / levels / levels)
    return grid, (*slopes, step_by_q, 2 ** (bits - 1) * math.log(2), (most - least) * _sign(bit))


def grid_gradients(excess: Scalars, pruned: Scalars) -> tuple[Scalars, Scalars]:
    """The gradients of the dead zone and of the step, from the sums over a weight of its gradient times `Levels`'."""
    dead_zone = pruned * -0.5
    return dead_zone, -excess - dead_zone


def logit_gradients(excess: Tensor, pruned: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor | None]:
    """The gradients of `logit_dz` and, where it is learned, of `logit_bit`, from the same sums.

    The chain rule in the order of autograd's operations, and tanh's by its operator: that keeps the bits.
    """
    sums = (excess, pruned) if isinstance(slopes.levels, Tensor) else readable(excess, pruned)
    with _quiet(sums[0]):
        dead_zone, step = grid_gradients(*sums)
        squashed_dz = (dead_zone - step / slopes.levels / 2) * slopes.width_by_squashed
        logit_dz = _tanh_backward(as_tensor(squashed_dz), slopes.squashed_dz)
        if slopes.squashed_bit is None:
            return logit_dz, None
        squashed_bit = step * slopes.step_by_q * slopes.q_by_bits * slopes.bits_by_squashed
        return logit_dz, _tanh_backward(as_tensor(squashed_bit), slopes.squashed_bit)


_tanh_backward = torch.ops.aten.tanh_backward.default


def _quiet(x: Scalars) -> AbstractContextManager[None]:
    """Where NumPy is as silent as PyTorch: an infinite weight or gradient is no occasion for a warning."""
    return nullcontext() if isinstance(x, Tensor) else np.errstate(all="ignore")


def _sign(x: Scalars) -> Scalars:
    return x.sign() if isinstance(x, Tensor) else np.sign(x)


def as_tensor(x: Scalars) -> Tensor:
    """The value as a tensor again."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.asarray(x))
