"""Quantizes all weights of a model at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from codeq.quant.attach import FakeQuantParametrization
from codeq.quant.dead_zone import DeadZoneLDZCompander, quantize_layers


@contextmanager
def all_layers_quantized(model: nn.Module) -> Iterator[None]:
    """A context in which all weights of `model` are already quantized, which is faster than layer by layer.

    They are quantized on entry, differentiably, and must not change inside. The logits of a layer whose weight is not
    read get the gradient 0 (without this context: None). A weight whose quantizer is disabled or follows another
    parametrization is computed when it is read, as outside the context.
    """
    layers = [(first, weight.original) for first, weight in _first_quantizers(model) if first.enabled]
    dead_zones = [layer for layer in layers if type(layer[0].quantizer) is DeadZoneLDZCompander]
    quantizers = [cast(DeadZoneLDZCompander, first.quantizer) for first, _ in dead_zones]
    together = quantize_layers(quantizers, [weight for _, weight in dead_zones]) if dead_zones else []
    quantized = {first: w for (first, _), w in zip(dead_zones, together, strict=True)}
    quantized |= {first: first.quantizer(weight) for first, weight in layers if first not in quantized}
    for first, w in quantized.items():
        # A quantizer may return its input: nn.Module would register a Parameter under the attribute's name.
        first.quantized = w.view_as(w) if isinstance(w, nn.Parameter) else w
    try:
        yield
    finally:
        for first in quantized:
            first.quantized = None


def _first_quantizers(model: nn.Module) -> Iterator[tuple[FakeQuantParametrization, ParametrizationList]]:
    """Return the quantizer and the parametrization of each layer in which the quantizer comes first."""
    for module in model.modules():
        if is_parametrized(module, "weight"):
            weight = cast(nn.ModuleDict, module.parametrizations)["weight"]
            if isinstance(weight, ParametrizationList) and isinstance(weight[0], FakeQuantParametrization):
                yield weight[0], weight
