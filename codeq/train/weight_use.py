"""Which weight each product of a forward pass uses, whether its layer is called or only its weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""The layers whose weight has output channels first, input channels second."""


class WeightUse:
    """Finds the weight among the operands of an operation.

    A weight is recognized by its memory, so that a transposed, reshaped or sliced one is too. One that a layer computes
    when it is called (weight standardization) is recognized by the layer, whose forward pass is then running.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """weights: see `product_weights`."""
        self.weights = weights
        self.running: list[str] = []
        self._stored: dict[torch.UntypedStorage, list[tuple[int, str]]] = {}
        for name, weight in weights.items():
            self._stored.setdefault(weight.untyped_storage(), []).append((int(weight.storage_offset()), name))

    def name(self, *operands: Any) -> str | None:
        """The name of the weight among `operands`, the last if there are several; None if there is none."""
        for operand in reversed(operands):
            # Layers of one shape are quantized as one tensor, so that a storage can hold several weights.
            stored = self._stored.get(operand.untyped_storage(), ()) if isinstance(operand, Tensor) else ()
            if found := [entry for entry in stored if entry[0] <= operand.storage_offset()]:
                return max(found)[1]
        return self.running[-1] if self.running else None


@contextmanager
def watch_weights(model: nn.Module) -> Iterator[WeightUse]:
    """A context for a forward pass in evaluation mode without gradients. The model stays as it was.

    Each weight is quantized once, since it is recognized by its memory.
    """
    training, has_fast_path = model.training, torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), parametrize.cached():
        use = WeightUse(product_weights(model))
        handles = [
            handle
            for name, module in model.named_modules()
            if name in use.weights
            for handle in (
                module.register_forward_pre_hook(lambda module, inputs, name=name: use.running.append(name)),
                module.register_forward_hook(lambda module, inputs, output: use.running.pop() and None),
            )
        ]
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # one operator for all layers of a transformer's block
            model.eval()
            yield use
        finally:
            model.train(training)
            torch.backends.mha.set_fastpath_enabled(has_fast_path)
            for handle in handles:
                handle.remove()


def product_weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that products may use, those of two and more dimensions, as the layers read them, by name.

    A layer's `weight` has the layer's name, another parameter its own: `blocks.0.attn.in_proj_weight`.
    """
    found = {}
    for name, module in model.named_modules():
        if ".parametrizations" in f".{name}":
            continue
        keys = {*module._parameters, *getattr(module, "parametrizations", ())}
        keys |= {"weight"} if isinstance(module, LAYERS) else set()
        for key in sorted(keys):
            tensor = getattr(module, key)
            if isinstance(tensor, Tensor) and tensor.dim() > 1:
                found[name if key == "weight" else f"{name}.{key}".removeprefix(".")] = tensor
    return found


def weight_of(layer: nn.Module) -> Tensor:
    """The weight as the layer reads it."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight


def image_of_ones(model: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """A (1, *shape) image on the model's device."""
    return torch.ones(1, *shape, device=next(model.parameters()).device)
