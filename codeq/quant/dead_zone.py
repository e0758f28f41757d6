"""The learnable dead-zone quantizer: prunes and quantizes a weight in one operator.

After Wenshøj, Chen, Pepin, Selvan, "CoDeQ: End-to-End Joint Model Compression with Dead-Zone Quantizer for
High-Sparsity and Low-Precision Networks", arXiv 2512.12981; equation numbers are that paper's.
"""

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
from codeq.quant.registry import Quantizer, register_quantizer
from codeq.quant.straight_through import round_through

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


def _quantize_layer(w: Tensor, logit_dz: Tensor, bits: Sequence[Tensor]) -> tuple[Levels, Slopes]:
    """The quantizer of a layer from range to levels. All but `w` [*lead, ...] are [*lead], as for `layer_grid`."""
    magnitude = w.abs()
    absmax = row_quantiles(rows_in_any_order(magnitude, logit_dz.dim()), RANGE_QUANTILE)
    grid, slopes = layer_grid(absmax, logit_dz, bits)
    return quantize(w, grid, scratch=magnitude), slopes


def _logit_gradients(
    ctx: Any, grad: Tensor, excess: Tensor, pruned: Tensor, slopes: Slopes, lead: int
) -> tuple[Tensor | None, ...]:
    """The gradients of all inputs of `_quantize_layer` but the weight."""
    _, *needed = ctx.needs_input_grad
    if not any(needed):
        return (None,) * len(needed)
    gradients = logit_gradients(*gradient_sums(grad, excess, pruned, lead), slopes)
    return *gradients, *(None,) * (len(needed) - 2)


class _EagerLayer(torch.autograd.Function):
    """`_quantize_layer` without knowing of transforms, which halves what a small layer takes."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, logit_dz: Tensor, *bits: Tensor) -> Tensor:
        levels, ctx.slopes = _quantize_layer(w, logit_dz, bits)
        ctx.save_for_backward(w, levels.excess, levels.pruned)
        ctx.lead = logit_dz.dim()
        return levels.quantized

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w, excess, pruned = ctx.saved_tensors
        gradients = _logit_gradients(ctx, grad, excess, pruned, ctx.slopes, ctx.lead)
        return weight_gradient(grad, w), *gradients


class _Layer(torch.autograd.Function):
    """`_quantize_layer` for vmap, grad and the compiler; see `_OnGrid`."""

    @staticmethod
    def forward(w: Tensor, logit_dz: Tensor, *bits: Tensor) -> tuple[Tensor, ...]:
        levels, slopes = _quantize_layer(w, logit_dz, bits)
        return *levels, torch.stack([as_tensor(x) for x in slopes if x is not None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _save(ctx, inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        w, excess, pruned, slopes = ctx.saved_tensors
        gradients = _logit_gradients(ctx, grad, excess, pruned, Slopes(*slopes.unbind()), ctx.lead)
        return weight_gradient(grad, w), *gradients

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, ...]:
        return _Layer.apply(*_stack(info.batch_size, in_dims, inputs)), (0, 0, 0, 1)


def _layer(w: Tensor, logit_dz: Tensor, *bits: Tensor) -> Tensor:
    """`_quantize_layer`'s quantized weight, differentiable."""
    # What `Function.apply` asks too; asked before, it spares the transforms' bookkeeping where there are none.
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return cast(Levels, _Layer.apply(w, logit_dz, *bits))[0]
    return cast(Tensor, _EagerLayer.apply(w, logit_dz, *bits))


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


@register_quantizer("deadzone")
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
        return _layer(w, self.logit_dz, *(getattr(self, name) for name in self._bits))

    def quantize_stack(self, w: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """`w` [K, ...] quantized as K copies of this module would that have the stacked `state`, each [K]."""
        return _layer(w, state["logit_dz"], *(state[name] for name in self._bits))

    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor; differentiable in `logit_bit` where that is learned."""
        if self._learns_bits:
            return learned_bitwidth(self.logit_bit, self.min_bits, self.max_bits)
        return self.fixed_bit

    def _freeze(self, learnable_bit: bool, learnable_deadzone: bool) -> None:
        """Makes each logit trainable or not. Kept in Python as well: forward must not wait for the device."""
        self._learns_bits = learnable_bit
        self._bits = ("logit_bit", "min_bits", "max_bits") if learnable_bit else ("fixed_bit",)
        self.logit_bit.requires_grad_(learnable_bit)
        self.logit_dz.requires_grad_(learnable_deadzone)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._freeze(bool(self.learnable_bit), bool(self.learnable_deadzone))
