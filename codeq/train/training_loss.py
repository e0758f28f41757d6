"""What a training step differentiates: the loss of a batch, the added terms included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq.quant import AllLayersQuantized
from codeq.train.losses import WeightedTerm, added_loss

Forward = Callable[[Tensor], Tensor]
"""From images (B, C, S, S) to logits (B, classes)."""

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images (B, C, S, S) and labels (B,) to the loss, a scalar, and the logits (B, classes), to be read only.

What it returns, and the gradients, hold until it is called again."""


class TrainingLoss(nn.Module):
    """The mean cross-entropy of a batch plus the added terms, as a `Loss`. Each weight is quantized once."""

    def __init__(self, model: nn.Module, forward: Forward, terms: Sequence[WeightedTerm]) -> None:
        """forward: `model` or its compiled form."""
        super().__init__()
        self.model = model
        self._forward = forward
        self._terms = terms
        self._layout = memory_format(model)
        # A compiled forward pass quantizes by what was compiled.
        self._quantized = AllLayersQuantized(model) if forward is model else nullcontext()

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        with parametrize.cached(), self._quantized:  # the terms read the weights that the forward pass quantized
            logits = self._forward(images.to(memory_format=self._layout))
            return F.cross_entropy(logits, labels) + added_loss(self.model, self._terms), logits.detach()


def memory_format(model: nn.Module) -> torch.memory_format:
    """channels_last where there are convolutions to profit from it."""
    has_convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return torch.channels_last if has_convolutions else torch.contiguous_format
