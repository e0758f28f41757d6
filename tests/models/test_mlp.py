"""The multilayer perceptron."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from codeq.models import build_model


def test_the_mlp_has_379_560_dense_macs_on_cifar(dense_macs: Callable[..., int]) -> None:
    model = build_model("mlp", in_channels=3, img_size=32, num_classes=10)
    assert dense_macs(model, torch.zeros(1, 3, 32, 32)) == 379_560


@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 32, 10), (1, 8, 10), (3, 16, 100)])
def test_its_ends_follow_the_data(channels: int, size: int, classes: int) -> None:
    model = build_model("mlp", in_channels=channels, img_size=size, num_classes=classes)
    layers = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert layers == [(channels * size * size, 120), (120, 84), (84, classes)]


def test_hidden_layers_are_rectified() -> None:
    model = build_model("mlp", in_channels=1, img_size=4, num_classes=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(-1.0 if name.startswith("fc1") else 1.0)
    # fc1 is negative for positive pixels, so only biases reach the end: 84 * relu(0 + 1) + 1.
    assert model(torch.ones(1, 1, 4, 4)).tolist() == [[85.0] * 3]
