"""The uniform symmetric quantizer, a baseline without dead zone and learnable parameters."""

import torch
from torch import Tensor

from codeq.quant.base import Quantizer
from codeq.quant.straight_through import ste_round


def uniform_quantize(w: Tensor, q_max: float) -> Tensor:
    """Quantize `w` (any shape) to at most 2 q_max + 1 evenly spaced levels from -max(abs(w)) to max(abs(w)).

    q_max: 2**(bits - 1) - 1. Rounding is straight-through and the scale has no gradient, so `w` gets the
    incoming gradient unchanged. An all-zero `w` stays all zero.
    """
    # The lower bound avoids 0 / 0 for an all-zero tensor.
    scale = (w.detach().abs().amax() / q_max).clamp_min(torch.finfo(w.dtype).tiny)
    # No clipping is needed: the largest weight is the outermost level.
    return scale * ste_round(w / scale)


class UniformSymmetric(Quantizer):
    """The uniform symmetric quantizer of one layer with a fixed bit-width; it adds nothing to the state dict.

    bitwidth: bits per weight, >= 2; raises ValueError for fewer.
    """

    bits: Tensor

    def __init__(self, bitwidth: int = 8) -> None:
        super().__init__()
        if not bitwidth >= 2:
            raise ValueError(f"bitwidth is {bitwidth}, must be at least 2")
        self.q_max = 2.0 ** (bitwidth - 1) - 1
        self.register_buffer("bits", torch.tensor(float(bitwidth)), persistent=False)

    def forward(self, w: Tensor) -> Tensor:
        """Return `w` (any shape, one scale for all of it) quantized."""
        return uniform_quantize(w, self.q_max)

    def get_bitwidth(self) -> Tensor:
        """Return the bits per weight, a scalar tensor."""
        return self.bits
