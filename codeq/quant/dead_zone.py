"""The learnable dead-zone quantizer: prunes and quantizes a weight in one operator.

After Wenshøj, Chen, Pepin, Selvan, "CoDeQ: End-to-End Joint Model Compression with Dead-Zone Quantizer for
High-Sparsity and Low-Precision Networks", arXiv 2512.12981; the equation numbers are those of the paper.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from codeq.quant.base import Quantizer
from codeq.quant.quantile import quantile
from codeq.quant.straight_through import ste_round

MIN_BITS = 2.0

RANGE_QUANTILE = 0.99
RANGE_QUANTILE_FLOAT32 = 0.9900000095367432
"""0.99 rounded to float32, as `torch.quantile` has it for a float32 weight."""


def weight_range(w: Tensor, batch_ndim: int = 0) -> Tensor:
    """The range `R` of a weight: the 0.99 quantile of `abs(w)`, without gradient -> w's first `batch_ndim` dimensions.

    w: any shape; its first `batch_ndim` dimensions index the weights. 0: one weight, the range is a scalar.
    """
    q = RANGE_QUANTILE if w.dtype == torch.float64 else RANGE_QUANTILE_FLOAT32
    return quantile(w.detach().abs().reshape(*w.shape[:batch_ndim], -1), q)


# The equations of a layer's scalars. They are elementwise, so that one call computes those of all layers.


def dead_zone_width(logit_dz: Tensor, weight_range: Tensor) -> Tensor:
    """The dead zone's width `d`, 0..2 weight_range (eq. 15); it grows as the logit approaches 0."""
    return 2 * weight_range * (1 - logit_dz.tanh().abs())


def learned_bitwidth(logit_bit: Tensor, min_bits: Tensor, max_bits: Tensor) -> Tensor:
    """The bit-width `b`, an integer in min_bits..max_bits (eq. 18), its rounding straight-through."""
    return ste_round(logit_bit.tanh().abs() * (max_bits - min_bits) + min_bits)


def largest_level(bits: Tensor) -> Tensor:
    """The largest level index `Q` of a symmetric grid of `bits` bits: 1 for 2 bits, 7 for 4."""
    return 2 ** (bits - 1) - 1


def step_size(weight_range: Tensor, dead_zone: Tensor, q_max: Tensor) -> Tensor:
    """The step `s` in weight units (eq. 12): `q_max` levels from the dead zone's edge to `weight_range`.

    Never 0, so that a fully pruned layer (dead_zone = 2 weight_range) stays finite.
    """
    return (weight_range - dead_zone / 2) / (q_max - 0.5) + 1e-8


def dead_zone_quantize(w: Tensor, *, dead_zone: Tensor, step: Tensor, q_max: Tensor) -> Tensor:
    """`w` on at most 2 q_max + 1 levels, 0 where `abs(w) <= dead_zone / 2` -> the shape of `w`.

    w: any shape, e.g. [out, in] or [out, in, kh, kw]. dead_zone >= 0 and step > 0: scalars in weight units.
    q_max: scalar, 2**(bits - 1) - 1. A NaN in `w` stays NaN.

    Round, clip and relu are straight-through, the clip's bound has no gradient. So `w` gets the incoming gradient
    unchanged, also where it is 0: the literal equations give 0 there, so that a layer that starts at 0 would stay at 0.
    Only first derivatives are supported: second derivatives raise a RuntimeError.
    """
    (stack,) = _quantize([w[None]], dead_zone[None], step[None], q_max[None])
    return stack[0]


def _quantize(stacks: Sequence[Tensor], dead_zone: Tensor, step: Tensor, q_max: Tensor) -> Sequence[Tensor]:
    """`dead_zone_quantize` of stacks of weights, [L_i, ...] each; the scalars are [L], one per weight."""
    shift = (dead_zone - step) / 2  # (10)
    return cast(tuple[Tensor, ...], _DeadZone.apply(shift, step, q_max, *stacks))[: len(stacks)]


class _DeadZone(torch.autograd.Function):
    """`w_hat = s q + delta sign(q)`, `q = clip(round(m), -Q, Q)`, `m = sign(w) relu(abs(w) - delta) / s`, for many `w`.

    Inputs: the shifts `delta`, the steps `s` and the largest levels `Q`, [L] each, then the L weights in stacks
    [L_i, ...] of one shape. One call quantizes all of them, because the overhead of a call takes longer
    than the arithmetic of a small weight. It also returns the tensors that backward needs, because vmap and grad only
    allow saving outputs. No intermediate is overwritten: with PyTorch 2.11 a compiled function that does this has wrong
    gradients.

    With the incoming gradient `g`: `dL/dw = g`, `dL/ds = sum(g (q - m))`, `dL/ddelta = sum(g (sign(q) - sign(w)))`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(shift: Tensor, step: Tensor, q_max: Tensor, *stacks: Tensor) -> tuple[Tensor, ...]:
        sizes = [len(w) for w in stacks]
        quantized, rounding_error, sign_change = [], [], []
        for w, *scalars in zip(stacks, shift.split(sizes), step.split(sizes), q_max.split(sizes), strict=True):
            delta, s, Q = (x.view(-1, *[1] * (w.dim() - 1)) for x in scalars)
            sign = w.sign()
            m = torch.addcmul(w, sign, w.abs().minimum(delta), value=-1) / s  # as sign * relu(abs(w) - delta) / s
            q = m.round().clamp(min=-Q).clamp(max=Q)  # one call with both bounds takes six times as long on a CPU
            kept = q.sign()
            quantized.append(torch.addcmul(s * q, delta, kept))
            rounding_error.append(q - m)
            sign_change.append(sign - kept)
        return *quantized, *rounding_error, *sign_change

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        derivatives = output[len(output) // 3 :]
        ctx.mark_non_differentiable(*derivatives)
        ctx.save_for_backward(*derivatives)
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        stacks = len(grads) // 3
        grads, rounding_error, sign_change = grads[:stacks], ctx.saved_tensors[:stacks], ctx.saved_tensors[stacks:]
        if not any(ctx.needs_input_grad[:2]):
            return None, None, None, *grads
        return -_sums(grads, sign_change), _sums(grads, rounding_error), None, *grads


def _sums(grads: Sequence[Tensor | None], derivatives: Sequence[Tensor]) -> Tensor:
    """Sum gradient times derivative over each weight -> [L]; 0 if no quantized weight of a stack was used."""
    pairs = zip(grads, derivatives, strict=True)
    return torch.cat([x.new_zeros(len(x)) if g is None else torch.linalg.vecdot(_rows(g), _rows(x)) for g, x in pairs])


def _rows(x: Tensor) -> Tensor:
    """[L, ...] -> [L, n]."""
    return x.reshape(len(x), -1)


def quantize_layers(quantizers: Sequence["DeadZoneLDZCompander"], weights: Sequence[Tensor]) -> list[Tensor]:
    """Quantize each of `weights` (any shape, at least one, all on one device) with its quantizer of `quantizers`.

    Weights of one shape are quantized as one tensor, which cuts a step of ResNet-20 on an H200 to two thirds.
    """
    by_shape: dict[torch.Size, list[int]] = {}
    for index, w in enumerate(weights):
        by_shape.setdefault(w.shape, []).append(index)
    stacks = [torch.stack([weights[i] for i in group]) for group in by_shape.values()]
    order = [index for group in by_shape.values() for index in group]
    ranges = torch.cat([weight_range(stack, batch_ndim=1) for stack in stacks])
    dead_zone = dead_zone_width(torch.stack([quantizers[i].logit_dz for i in order]), ranges)
    q_max = largest_level(torch.stack([quantizers[i].get_bitwidth() for i in order]))
    quantized = _quantize(stacks, dead_zone, step_size(ranges, dead_zone, q_max), q_max)
    in_order = [w for stack in quantized for w in stack.unbind()]
    return [w for _, w in sorted(zip(order, in_order, strict=True), key=lambda pair: pair[0])]


class DeadZoneLDZCompander(Quantizer):
    """The dead-zone quantizer of one layer, with its two logits.

    Terms: the dead zone is the interval of weights that become 0. `logit_dz` sets its width, from none (a
    large logit) to everything (0); `logit_bit` sets the bit-width, from `max_bits` (a large logit) to 2 (0).
    Weight decay on either therefore compresses. A frozen logit stays in the state dict.

    fixed_bit_val: bits per weight, >= 2, if the bit-width is not learned. max_bits: the upper bound of the
    learned bit-width, >= 2. learnable_bit: learn `logit_bit`; otherwise it is unused. learnable_deadzone: learn
    `logit_dz`; otherwise it is frozen. All four are part of the state dict: loading one overrides them.

    Raises ValueError for fewer than 2 bits.
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
        """Return `w` (any shape, one scale for all of it) pruned and quantized; the logits get gradients too."""
        return quantize_layers([self], [w])[0]

    def get_bitwidth(self) -> Tensor:
        """Return the bits per weight, a scalar tensor; differentiable in `logit_bit` if that is learned."""
        if self._learns_bits:
            return learned_bitwidth(self.logit_bit, self.min_bits, self.max_bits)
        return self.fixed_bit

    def _freeze(self, learnable_bit: bool, learnable_deadzone: bool) -> None:
        """Make each logit trainable or not. A Python flag is kept, so that forward does not wait for the device."""
        self._learns_bits = learnable_bit
        self.logit_bit.requires_grad_(learnable_bit)
        self.logit_dz.requires_grad_(learnable_deadzone)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._freeze(bool(self.learnable_bit), bool(self.learnable_deadzone))
