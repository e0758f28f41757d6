"""Norms are recognized by their type."""

from __future__ import annotations

import pytest
import torch
from timm import layers as timm_layers
from torch import nn

from codeq.quant import attach_weight_quantizers, is_norm


class Normalize(nn.Module):
    """A network's own norm, with a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


class Shifted(nn.LayerNorm):
    """A norm whose name does not say so."""


class NormedLinear(nn.Linear):
    """A layer with "norm" in its name, whose weight is a matrix."""


NORMS = [
    nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.SyncBatchNorm(4), nn.InstanceNorm2d(4),
    nn.LayerNorm(4), nn.LayerNorm((2, 2)), nn.GroupNorm(2, 4), nn.RMSNorm(4), Normalize(), Shifted(4),
    timm_layers.BatchNormAct2d(4), timm_layers.GroupNorm1(4), timm_layers.LayerNorm2d(4), timm_layers.RmsNorm(4),
    timm_layers.SimpleNorm(4), timm_layers.EvoNorm2dS0(8), timm_layers.FilterResponseNormTlu2d(4),
    timm_layers.grn.GlobalResponseNorm(4),
]  # fmt: skip
OTHERS = [
    nn.Linear(4, 4), nn.Conv2d(4, 4, 1), nn.Embedding(4, 4), nn.PReLU(4), nn.Flatten(), NormedLinear(4, 4),
    timm_layers.ConvNormAct(4, 4), timm_layers.ScaledStdConv2d(4, 4, 1), timm_layers.NormMlpClassifierHead(4, 2),
]  # fmt: skip


@pytest.mark.parametrize("module", NORMS, ids=lambda module: type(module).__name__)
def test_a_norm_is_one_with_and_without_a_quantizer(module: nn.Module) -> None:
    assert is_norm(module)
    attach_weight_quantizers(module, [], "uniform", {})
    assert is_norm(module)


@pytest.mark.parametrize("module", OTHERS, ids=lambda module: type(module).__name__)
def test_what_multiplies_or_contains_a_norm_is_none(module: nn.Module) -> None:
    assert not is_norm(module)
