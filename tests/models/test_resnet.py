"""The CIFAR ResNets against the figures that the literature gives for them."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from codeq.models import build_model
from codeq.models.resnet import shortcut_a

# He et al. 2015, table 6: millions of parameters.
PARAMETERS_IN_MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}


def test_resnet20_has_40_551_040_dense_macs_on_cifar(dense_macs: Callable[..., int]) -> None:
    model = build_model("resnet20", in_channels=3, img_size=32, num_classes=10)
    assert dense_macs(model, torch.zeros(1, 3, 32, 32)) == 40_551_040


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    model = build_model(f"resnet{depth}", in_channels=3, img_size=32, num_classes=10)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_number_of_parameters_is_the_papers(depth: int) -> None:
    model = build_model(f"resnet{depth}", in_channels=3, img_size=32, num_classes=10)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(PARAMETERS_IN_MILLIONS[depth], abs=0.04)


def test_state_dict_keys_are_those_of_the_literatures_scripts() -> None:
    keys = build_model("resnet20", in_channels=3, img_size=32, num_classes=10).state_dict().keys()
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer3.2.bn2.bias"} <= keys
    assert {"linear.weight", "linear.bias"} <= keys
    assert not any("shortcut" in key or "downsample" in key for key in keys)


def test_the_shortcut_subsamples_and_pads_channels_with_zeros() -> None:
    x = torch.randn(2, 16, 8, 8)
    out = shortcut_a(x, stride=2, channels=32)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()


def test_convolutions_start_with_kaimings_deviation() -> None:
    torch.manual_seed(0)
    model = build_model("resnet56", in_channels=3, img_size=32, num_classes=10)
    weight = model.get_parameter("layer3.4.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
