"""The learnable dead-zone quantizer: prunes and quantizes a weight in one operator.

After Wenshøj, Chen, Pepin, Selvan, "CoDeQ: End-to-End Joint Model Compression with Dead-Zone Quantizer for
High-Sparsity and Low-Precision Networks", arXiv 2512.12981; equation numbers are that paper's.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from codeq.quant.quantile import quantile
from codeq.quant.registry import Quantizer, register_quantizer
from codeq.quant.straight_through import round_through

RANGE_QUANTILE = 0.99
MIN_BITS = 2.0


def weight_range(w: Tensor) -> Tensor:
    """The range `R` of `w` (any shape): the 0.99 quantile of `abs(w)`, a scalar without gradient."""
    return quantile(w.detach().abs(), RANGE_QUANTILE)


def dead_zone_width(logit: Tensor, absmax: Tensor) -> Tensor:
    """The dead zone's width `d`, 0..2 absmax (eq. 15): the nearer `logit` is to 0, the wider."""
    return 2 * absmax * (1 - logit.tanh().abs())


def learned_bitwidth(logit: Tensor, min_bits: Tensor, max_bits: Tensor) -> Tensor:
    """The bit-width, an integer in min_bits..max_bits (eq. 18), its rounding straight-through."""
    return round_through(logit.tanh().abs() * (max_bits - min_bits) + min_bits)


def largest_level(bits: Tensor) -> Tensor:
    """The largest level index `Q` of a symmetric grid of `bits` bits, 1 for 2 bits, 7 for 4."""
    return 2 ** (bits - 1) - 1


def step_size(absmax: Tensor, dead_zone: Tensor, q_max: Tensor) -> Tensor:
    """The step `s` in weight units (eq. 12): `q_max` levels from the dead zone's edge to `absmax`.

    Never 0, so that a fully pruned layer (dead_zone = 2 absmax) stays finite.
    """
    return (absmax - dead_zone / 2) / (q_max - 0.5) + 1e-8


def dead_zone_quantize(w: Tensor, *, dead_zone: Tensor, step: Tensor, q_max: Tensor) -> Tensor:
    """`w` on at most 2 q_max + 1 levels, 0 where `abs(w) <= dead_zone / 2` (eq. 10) -> the shape of `w`.

    w: any shape, e.g. [out, in] or [out, in, kh, kw]. dead_zone >= 0 and step > 0: scalars in weight units.
    q_max: scalar, 2**(bits - 1) - 1. A NaN in `w` stays NaN.

    Round, clip and relu are straight-through, the clip's bound has no gradient. So `w` gets the incoming
    gradient `g` where it is not 0, and with the level's magnitude `r` and its value `m` before rounding
    `dL/dstep = sum(g sign(w) (r - m)) - dL/ddead_zone` and `dL/ddead_zone = -1/2 sum_{r=0} g sign(w)`.
    These are first derivatives only: differentiating them again raises a RuntimeError.
    """
    return cast(Tensor, _DeadZoneQuantize.apply(w, dead_zone, step, q_max))


class _DeadZoneQuantize(torch.autograd.Function):
    """Saves the weight and three scalars and computes the levels again in backward.

    Whole-weight passes are in place wherever the tensor is this function's own: fresh memory is what an
    elementwise pass on a CPU waits for. The exceptions are the passes where a tensor first meets one that
    vmap may have batched while it is not (w with the scalars, sign(w) with the gradient).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, dead_zone: Tensor, step: Tensor, q_max: Tensor) -> Tensor:
        level = _unrounded_level(w, dead_zone, step).round_().clamp_max_(q_max)
        shift = level.sign().mul_(_shift(dead_zone, step))
        # copysign leaves zeros alone: at w = 0 the unrounded level is at most 1/2, which rounds to 0.
        return level.mul_(step).add_(shift).copysign_(w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w, dead_zone, step, q_max = ctx.saved_tensors
        sign = w.sign()
        grad_dead_zone = grad_step = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            unrounded = _unrounded_level(w, dead_zone, step)
            level = unrounded.round().clamp_max_(q_max)
            excess = unrounded.sub_(level).mul_(sign)
            pruned = level.sub_(1).clamp_max_(0).mul_(sign)  # -sign(w) where the level is 0; vmap has no eq_
            grad_dead_zone = _dot(grad, pruned) * 0.5
            grad_step = -_dot(grad, excess) - grad_dead_zone
            del unrounded, level, excess, pruned  # their memory serves the result below
        return grad * sign.abs_(), grad_dead_zone, grad_step, None


def _shift(dead_zone: Tensor, step: Tensor) -> Tensor:
    """What `abs(w)` loses before scaling and gets back after, in weight units (eq. 10); may be negative."""
    return (dead_zone - step) / 2


def _unrounded_level(w: Tensor, dead_zone: Tensor, step: Tensor) -> Tensor:
    """The level's magnitude before it is rounded and clipped, >= 0, a fresh tensor of the shape of `w`."""
    return (w.abs() - _shift(dead_zone, step)).div_(step).relu_()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of `a * b` over all elements of two tensors of one shape, without storing the product."""
    return torch.dot(a.flatten(), b.flatten())


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
        absmax = weight_range(w)
        dead_zone = dead_zone_width(self.logit_dz, absmax)
        q_max = largest_level(self.get_bitwidth())
        step = step_size(absmax, dead_zone, q_max)
        return dead_zone_quantize(w, dead_zone=dead_zone, step=step, q_max=q_max)

    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor; differentiable in `logit_bit` where that is learned."""
        if self._learns_bits:
            return learned_bitwidth(self.logit_bit, self.min_bits, self.max_bits)
        return self.fixed_bit

    def _freeze(self, learnable_bit: bool, learnable_deadzone: bool) -> None:
        """Makes each logit trainable or not. Kept in Python as well: forward must not wait for the device."""
        self._learns_bits = learnable_bit
        self.logit_bit.requires_grad_(learnable_bit)
        self.logit_dz.requires_grad_(learnable_deadzone)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._freeze(bool(self.learnable_bit), bool(self.learnable_deadzone))
