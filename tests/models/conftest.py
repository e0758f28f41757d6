"""What several model tests measure with."""

from collections.abc import Callable

import pytest
from torch import Tensor, nn


def dense_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of all convolutions and linear layers, from the shapes of one forward pass."""
    macs = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        macs.append(module.weight.numel() * positions)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()(image)
    return sum(macs)


@pytest.fixture(name="dense_macs")
def dense_macs_fixture() -> Callable[[nn.Module, Tensor], int]:
    return dense_macs
