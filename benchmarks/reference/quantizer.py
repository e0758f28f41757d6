"""The literal dead-zone quantizer as a module, attached to a network's weights."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.reference.dead_zone import kthvalue_quantile, literal_dead_zone


class LiteralDeadZone(nn.Module):
    """One layer's quantizer; learnable_bit False: the bit-width is `fixed_bit_val`."""

    def __init__(self, *, learnable_bit: bool = True, fixed_bit_val: int = 4, max_bits: int = 8) -> None:
        super().__init__()
        self.logit_dz = nn.Parameter(torch.tensor(3.0))
        self.logit_bit = nn.Parameter(torch.tensor(3.0)) if learnable_bit else None
        self.fixed_bit_val, self.max_bits = fixed_bit_val, max_bits

    def forward(self, w: Tensor) -> Tensor:
        """`w`, any shape, pruned and quantized."""
        return literal_dead_zone(
            w, self.logit_dz, self.logit_bit,
            fixed_bit_val=self.fixed_bit_val, max_bits=self.max_bits, quantile=kthvalue_quantile,
        )  # fmt: skip


def attach(model: nn.Module, exclude_layers: Collection[str] = (), **kwargs: int) -> None:
    """Attach a quantizer to every weight of `model` whose layer's name contains none of `exclude_layers`."""
    for name, module in list(model.named_modules()):
        has_weight = isinstance(getattr(module, "weight", None), nn.Parameter)
        if has_weight and not any(part in name for part in exclude_layers):
            parametrize.register_parametrization(module, "weight", LiteralDeadZone(**kwargs))  # type: ignore[arg-type]
