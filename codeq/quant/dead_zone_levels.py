"""The dead-zone quantizer's passes over whole weights, forward and backward.

A pass over a large weight costs memory traffic, one over a small weight a call. So forward keeps the two factors
that backward needs, which takes fewer passes than computing them again, and whatever is this module's own is
overwritten: fresh memory is what an elementwise pass on a CPU waits for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from codeq.quant.dead_zone_grid import Grid


class Levels(NamedTuple):
    """A quantized weight and what its gradients are made of, all of the weight's shape.

    quantized: the weight on its levels (eq. 10). excess: by how many steps the level is below the weight, the
    weight's magnitude taken as `relu(abs(w) - shift)`; 0 where `w` is 0. pruned: sign(w) where the level is 0, else 0.
    """

    quantized: Tensor
    excess: Tensor
    pruned: Tensor


def quantize(w: Tensor, grid: Grid, scratch: Tensor | None = None) -> Levels:
    """`w` on `grid`. w: [*lead, ...], the grid's scalars [*lead]. scratch: of the shape of `w`, is overwritten."""
    shift, step, q_max = grid.beside(w)
    sign = w.sign()
    excess = _shrink(w, sign, shift, torch.empty_like(w) if scratch is None else scratch).div_(step)
    level = _clamp(excess.round(), q_max)
    excess.sub_(level)
    kept = level.sign()
    quantized = _add_scaled(level.mul_(step), kept, shift, level)
    return Levels(quantized, excess, sign.sub_(kept))


def _shrink(w: Tensor, sign: Tensor, shift: Tensor | float, out: Tensor) -> Tensor:
    """`sign(w) relu(abs(w) - shift)`, written to `out`, in one rounding: only one of the two parts is not 0."""
    if isinstance(shift, Tensor):
        band = shift.clamp_min(0)
        torch.sub(w, _clamp(w.clone(), band), out=out)
        return _add_scaled(out, sign, -shift.clamp_max(0), out)
    if shift > 0:
        return torch.sub(w, torch.clamp(w, -shift, shift, out=out), out=out)
    return _add_scaled(w, sign, -shift, out)


def _clamp(x: Tensor, bound: Tensor | float) -> Tensor:
    """`x` clipped to -bound..bound, in place. With two tensors at once, `clamp_` takes ten times as long."""
    if isinstance(bound, Tensor):
        return x.clamp_min_(-bound).clamp_max_(bound)
    return x.clamp_(-bound, bound)


def _add_scaled(x: Tensor, sign: Tensor, scale: Tensor | float, out: Tensor) -> Tensor:
    """`x + scale * sign`, written to `out`. The product is exact, so fusing it with the sum changes no bit."""
    if isinstance(scale, Tensor):
        return torch.addcmul(x, sign, scale, out=out)
    return torch.add(x, sign, alpha=scale, out=out)


def weight_gradient(grad: Tensor, w: Tensor) -> Tensor:
    """The incoming gradient where `w` is not 0, in one pass."""
    gradient: Tensor = _hardshrink_backward(grad, w, 0.0)
    return gradient


_hardshrink_backward = torch.ops.aten.hardshrink_backward.default


def gradient_sums(grad: Tensor, excess: Tensor, pruned: Tensor, lead: int) -> tuple[Tensor, Tensor]:
    """The sums of `grad * excess` and of `grad * pruned` over each weight [*lead, ...] -> [*lead].

    In the logical order of elements: in the order of memory, a channels_last weight would train to other bits.
    """
    if lead:
        return _sums_of_products(grad, excess, lead), _sums_of_products(grad, pruned, lead)
    grad = grad.flatten()
    return torch.dot(grad, excess.flatten()), torch.dot(grad, pruned.flatten())


def _sums_of_products(a: Tensor, b: Tensor, lead: int) -> Tensor:
    shape = a.shape[:lead]
    if a.device.type != "cpu" or torch.compiler.is_compiling():
        return (a * b).reshape(*shape, -1).sum(-1)
    # As quick as one product and one sum for all, and each row gets the bits that it would get alone.
    rows = (x.reshape(*shape, -1).flatten(0, -2) for x in (a, b))
    return torch.stack([torch.dot(*pair) for pair in zip(*rows, strict=True)]).view(shape)


def rows_in_any_order(x: Tensor, lead: int) -> Tensor:
    """The elements of `x` [*lead, ...] as [*lead, n], copied only where that must be: for one layer as they lie."""
    if lead or x.is_contiguous():
        return x.reshape(*x.shape[:lead], -1)
    return x.permute(sorted(range(x.dim()), key=x.stride, reverse=True)).flatten()
