"""The plain uniform symmetric quantizer: the comparison without a dead zone, nothing in it is learned."""

import torch
from torch import Tensor

from codeq.quant.quantizer import Quantizer
from codeq.quant.straight_through import ste_round


def uniform_quantize(w: Tensor, q_max: float) -> Tensor:
    """`w` (any shape) on at most 2 q_max + 1 evenly spaced levels from -max(abs(w)) to max(abs(w)).

    q_max: 2**(bits - 1) - 1. Rounding is straight-through and the scale has no gradient, so `w` gets the
    incoming gradient unchanged. An all-zero `w` stays all zero.
    """
    # The lower bound stands in for the scale of an all-zero tensor, which would divide 0 by 0.
    scale = (w.detach().abs().amax() / q_max).clamp_min(torch.finfo(w.dtype).tiny)
    # Clipping to the levels would change nothing: the largest weight is the outermost level.
    return scale * ste_round(w / scale)


class UniformSymmetric(Quantizer):
    """One layer's uniform symmetric quantizer of a fixed bit-width; no state in the state dict.

    bitwidth: bits per weight, >= 2. Raises ValueError: fewer.
    """

    bits: Tensor

    def __init__(self, bitwidth: int = 8) -> None:
        super().__init__()
        if not bitwidth >= 2:
            raise ValueError(f"bitwidth is {bitwidth}, must be at least 2")
        self.q_max = 2.0 ** (bitwidth - 1) - 1
        self.register_buffer("bits", torch.tensor(float(bitwidth)), persistent=False)

    def forward(self, w: Tensor) -> Tensor:
        """`w` (any shape, one scale for all of it) quantized."""
        return uniform_quantize(w, self.q_max)

    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor."""
        return self.bits
