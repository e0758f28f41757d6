"""The learnable dead-zone quantizer: prunes and quantizes a weight in one operator.

After Wenshøj, Chen, Pepin, Selvan, "CoDeQ: End-to-End Joint Model Compression with Dead-Zone Quantizer for
High-Sparsity and Low-Precision Networks", arXiv 2512.12981; equation numbers are that paper's.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from codeq.quant.dead_zone_grid import (
    Grid,
    Slopes,
    as_tensor,
    bitwidth,
    grid_gradients,
    layer_grid,
    logit_gradients,
    readable,
)
from codeq.quant.dead_zone_levels import Levels, gradient_sums, quantize, rows_in_any_order, weight_gradient
from codeq.quant.quantile import quantile, row_quantiles
from codeq.quant.quantizer import Quantizer
from codeq.quant.straight_through import round_through
from codeq.quant.transforms import is_transformed

RANGE_QUANTILE = 0.99
MIN_BITS = 2.0


def weight_range(w: Tensor) -> Tensor:
    """The range `R` of `w` (any shape): the 0.99 quantile of `abs(w)`, a scalar without gradient."""
    return quantile(w.detach().abs(), RANGE_QUANTILE)


def learned_bitwidth(logit: Tensor, min_bits: Tensor, max_bits: Tensor) -> Tensor:
    """The bit-width, an integer in min_bits..max_bits (eq. 18), its rounding straight-through."""
    return round_through(bitwidth(logit.tanh(), min_bits, max_bits))


def dead_zone_quantize(w: Tensor, *, dead_zone: Tensor, step: Tensor, q_max: Tensor) -> Tensor:
    """`w` on at most 2 q_max + 1 levels, 0 where `abs(w) <= dead_zone / 2` (eq. 10) -> the shape of `w`.

    w: any shape, e.g. [out, in] or [out, in, kh, kw]. dead_zone >= 0 and step > 0: scalars in weight units.
    q_max: scalar, 2**(bits - 1) - 1. A NaN in `w` stays NaN.

    Round, clip and relu are straight-through, the clip's bound has no gradient. So `w` gets the incoming
    gradient `g` where it is not 0, and with the level's magnitude `r` and its value `m` before rounding
    `dL/dstep = sum(g sign(w) (r - m)) - dL/ddead_zone` and `dL/ddead_zone = -1/2 sum_{r=0} g sign(w)`.
    These are first derivatives only: differentiating them again raises a RuntimeError.
    """
    return cast(Levels, _OnGrid.apply(w, dead_zone, step, q_max))[0]


class _OnGrid(torch.autograd.Function):
    """The quantizer on a given grid. Under vmap it runs once, on [K, ...] with scalars [K].

    Besides the quantized weight it returns what backward needs, the one way to save it that vmap and grad know.
    """

    @staticmethod
    def forward(w: Tensor, dead_zone: Tensor, step: Tensor, q_max: Tensor) -> tuple[Tensor, ...]:
        return tuple(quantize(w, Grid.of(*readable(dead_zone, step, q_max))))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _save(ctx, inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        w, excess, pruned = ctx.saved_tensors
        slopes: tuple[Tensor | None, ...] = (None, None)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            slopes = grid_gradients(*gradient_sums(grad, excess, pruned, ctx.lead))
        return weight_gradient(grad, w), *slopes, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, ...]:
        return _OnGrid.apply(*_stack(info.batch_size, in_dims, inputs)), (0, 0, 0)


def _quantize_layers(
    weights: Sequence[Tensor], lead: int, logit_dz: Tensor, *bits: Tensor
) -> tuple[list[Levels], Slopes]:
    """The quantizers of layers from range to levels; what is scalar, for all layers at once.

    weights: [*lead, ...] each. All else as `layer_grid` takes it, [*lead] of all layers, `_stacked`.
    """
    magnitudes = [w.abs() for w in weights]
    ranges = [row_quantiles(rows_in_any_order(magnitude, lead), RANGE_QUANTILE) for magnitude in magnitudes]
    grids, slopes = layer_grid(_stacked(ranges), logit_dz, bits)
    of_layers = zip(*(_unstacked(x, len(weights)) for x in grids), strict=True)
    levels = [
        quantize(w, Grid(*grid), scratch=magnitude)
        for w, grid, magnitude in zip(weights, of_layers, magnitudes, strict=True)
    ]
    return levels, slopes


def _stacked(of_layers: Sequence[Tensor]) -> Tensor:
    """One tensor [layers, ...]; a single layer's as it is: NumPy takes a scalar sooner than an array of one."""
    return of_layers[0] if len(of_layers) == 1 else torch.stack(list(of_layers))


def _unstacked(x: Any, layers: int) -> Sequence[Any]:
    """What `_stacked` put together, by layer; also of an array."""
    return [x] if layers == 1 else list(x)


class _EagerLayers(torch.autograd.Function):
    """`_quantize_layers` without knowing of transforms: a small layer's time goes into autograd's bookkeeping.

    Inputs: how many layers, then their weights, their `logit_dz`, their every other scalar. An output that nobody
    used leaves its layer without gradients, as it would by itself. What the layers save, two tensors of the weight's
    size each, is freed only when all their gradients are there.
    """

    @staticmethod
    def forward(ctx: Any, layers: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        weights, *scalars = _parts(inputs, layers)
        ctx.lead = scalars[0][0].dim()
        levels, ctx.slopes = _quantize_layers(weights, ctx.lead, *map(_stacked, scalars))
        ctx.save_for_backward(*weights, *(each.excess for each in levels), *(each.pruned for each in levels))
        ctx.set_materialize_grads(False)
        return tuple(each.quantized for each in levels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        layers = len(grads)
        weights, excess, pruned = _parts(ctx.saved_tensors, layers)
        gradients = [grad if grad is None else weight_gradient(grad, w) for grad, w in zip(grads, weights, strict=True)]
        if any(ctx.needs_input_grad[1 + layers :]):
            sums = [
                (e.new_zeros(e.shape[: ctx.lead]),) * 2 if grad is None else gradient_sums(grad, e, p, ctx.lead)
                for grad, e, p in zip(grads, excess, pruned, strict=True)
            ]
            excess_sums, pruned_sums = map(_stacked, zip(*sums, strict=True))
            for of_logits in logit_gradients(excess_sums, pruned_sums, ctx.slopes):
                of_layers = [None] * layers if of_logits is None else _unstacked(of_logits, layers)
                gradients += [None if grad is None else x for grad, x in zip(grads, of_layers, strict=True)]
        return None, *gradients, *(None,) * (len(ctx.needs_input_grad) - 1 - len(gradients))


def _parts(tensors: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    return [tensors[start : start + size] for start in range(0, len(tensors), size)]


class _Layer(torch.autograd.Function):
    """`_quantize_layers` of one for vmap, grad and the compiler; see `_OnGrid`."""

    @staticmethod
    def forward(w: Tensor, logit_dz: Tensor, *bits: Tensor) -> tuple[Tensor, ...]:
        (levels,), slopes = _quantize_layers([w], logit_dz.dim(), logit_dz, *bits)
        return *levels, torch.stack([as_tensor(x) for x in slopes if x is not None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _save(ctx, inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        w, excess, pruned, slopes = ctx.saved_tensors
        gradients: tuple[Tensor | None, ...] = (None, None)
        if any(ctx.needs_input_grad[1:]):
            gradients = logit_gradients(*gradient_sums(grad, excess, pruned, ctx.lead), Slopes(*slopes.unbind()))
        return weight_gradient(grad, w), *gradients, *(None,) * (len(ctx.needs_input_grad) - 3)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, ...]:
        return _Layer.apply(*_stack(info.batch_size, in_dims, inputs)), (0, 0, 0, 1)


def _layers(weights: Sequence[Tensor], *scalars: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The quantized weights, differentiable. weights: [*lead, ...] each. scalars: of all layers [*lead] each, first
    `logit_dz`, then the fixed bit-width, or where it is learned its logit, the least and the most."""
    if is_transformed():
        return tuple(cast(Levels, _Layer.apply(*of_layer))[0] for of_layer in zip(weights, *scalars, strict=True))
    inputs = itertools.chain(weights, *scalars)
    return cast(tuple[Tensor, ...], _EagerLayers.apply(len(weights), *inputs))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    """Keeps the weight and all that forward returned beside the quantized one, none of it differentiable."""
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(inputs[0], *output[1:])
    ctx.lead = inputs[1].dim()


def _stack(size: int, in_dims: tuple[int | None, ...], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Every input with vmap's dimension, of `size`, in front."""
    return [
        x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in zip(inputs, in_dims, strict=True)
    ]


class DeadZoneLDZCompander(Quantizer):
    """One layer's dead-zone quantizer, with its two logits.

    Terms: the dead zone is the interval of weights that become 0. `logit_dz` sets its width, from none (a
    large logit) to everything (0); `logit_bit` sets the bit-width, from `max_bits` (a large logit) to 2 (0).
    Weight decay on either therefore compresses. A frozen logit keeps its place in the state dict.

    fixed_bit_val: bits per weight, >= 2, where the bit-width is not learned. max_bits: the most that can be
    learned, >= 2. learnable_bit: learn `logit_bit`; otherwise it is unused. learnable_deadzone: learn
    `logit_dz`; otherwise it stays as it is. All four are part of the state dict: loading one overrides them.

    Raises ValueError: fewer than 2 bits.
    """

    logit_dz: nn.Parameter
    logit_bit: nn.Parameter
    fixed_bit: Tensor
    max_bits: Tensor
    min_bits: Tensor
    learnable_bit: Tensor
    learnable_deadzone: Tensor

    def __init__(
        self,
        fixed_bit_val: int = 4,
        max_bits: int = 8,
        init_bit_logit: float = 3.0,
        init_deadzone_logit: float = 3.0,
        learnable_bit: bool = True,
        learnable_deadzone: bool = True,
    ) -> None:
        super().__init__()
        for name, bits in {"fixed_bit_val": fixed_bit_val, "max_bits": max_bits}.items():
            if not bits >= MIN_BITS:
                raise ValueError(f"{name} is {bits}, must be at least {MIN_BITS:g}")
        self.logit_dz = nn.Parameter(torch.tensor(float(init_deadzone_logit)))
        self.logit_bit = nn.Parameter(torch.tensor(float(init_bit_logit)))
        self.register_buffer("fixed_bit", torch.tensor(float(fixed_bit_val)))
        self.register_buffer("max_bits", torch.tensor(float(max_bits)))
        self.register_buffer("min_bits", torch.tensor(MIN_BITS))
        self.register_buffer("learnable_bit", torch.tensor(learnable_bit))
        self.register_buffer("learnable_deadzone", torch.tensor(learnable_deadzone))
        self._freeze(learnable_bit, learnable_deadzone)

    def forward(self, w: Tensor) -> Tensor:
        """`w` (any shape, one scale for all of it) pruned and quantized; the logits get gradients too."""
        return _layers([w], *([getattr(self, name)] for name in self._scalars))[0]

    @staticmethod
    def quantize_layers(
        quantizers: Sequence[Quantizer],
        weights: Sequence[Tensor],
        states: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> list[Tensor]:
        """See `Quantizer`; one operator for all layers whose tensors lie together and that learn the same."""
        alike: dict[Any, list[int]] = {}
        for index, (quantizer, w) in enumerate(zip(quantizers, weights, strict=True)):
            names = cast(DeadZoneLDZCompander, quantizer)._scalars
            alike.setdefault((names, w.device, w.dtype), []).append(index)
        quantized: dict[int, Tensor] = {}
        for (names, *_), indices in alike.items():
            scalars = [
                [getattr(quantizers[index], name) if states is None else states[index][name] for index in indices]
                for name in names
            ]
            quantized.update(zip(indices, _layers([weights[index] for index in indices], *scalars), strict=True))
        return [quantized[index] for index in range(len(weights))]

    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor; differentiable in `logit_bit` where that is learned."""
        if self._learns_bits:
            return learned_bitwidth(self.logit_bit, self.min_bits, self.max_bits)
        return self.fixed_bit

    def _freeze(self, learnable_bit: bool, learnable_deadzone: bool) -> None:
        """Makes each logit trainable or not. Kept in Python as well: forward must not wait for the device."""
        self._learns_bits = learnable_bit
        self._scalars = ("logit_dz", *(("logit_bit", "min_bits", "max_bits") if learnable_bit else ("fixed_bit",)))
        self.logit_bit.requires_grad_(learnable_bit)
        self.logit_dz.requires_grad_(learnable_deadzone)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._freeze(bool(self.learnable_bit), bool(self.learnable_deadzone))
