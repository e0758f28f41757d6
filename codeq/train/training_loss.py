"""The function that a training step differentiates: the loss of a batch, including the added terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq.quant import all_layers_quantized
from codeq.train.loss_terms import WeightedTerm, added_loss
from codeq.train.precision import Precision, autocast

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images (B, C, S, S) and labels (B,) to the loss, a scalar, and the logits (B, classes), without gradient."""


class TrainingLoss(nn.Module):
    """The mean cross-entropy of a batch plus the added terms, as a `Loss`. Each weight is quantized once.

    Weights, quantizers, logits and terms are float32; `precision` is the precision of the layers' arithmetic.
    """

    def __init__(self, model: nn.Module, terms: Sequence[WeightedTerm], precision: Precision = "fp32") -> None:
        super().__init__()
        self.model = model
        self._terms = terms
        self._precision = precision
        self._layout = memory_format(model)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        with parametrize.cached(), all_layers_quantized(self.model):  # the terms read the same quantized weights
            with autocast(images.device, self._precision):
                logits = self.model(images.to(memory_format=self._layout)).float()
            return F.cross_entropy(logits, labels) + added_loss(self.model, self._terms), logits.detach()


def memory_format(model: nn.Module) -> torch.memory_format:
    """Return channels_last for a model with 2D convolutions, which are faster in that format, if it can have it."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    fits = not any(parameter.dim() == 5 for parameter in model.parameters())  # the weights of 3D convolutions
    if next(model.parameters()).device.type == "cpu":
        # The gradient of such a weight overwrites other memory in oneDNN 3.12, which kills the process: those of the
        # first layers of RepVGG, MobileOne and FastViT.
        fits = fits and not any(
            conv.kernel_size == (1, 1) and max(conv.stride) > 1 and conv.in_channels < 8 for conv in convolutions
        )
    return torch.channels_last if convolutions and fits else torch.contiguous_format
