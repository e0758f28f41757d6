"""All weights of a model quantized at once, and those of several stacked models."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import cast

from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from codeq.quant.attach import FakeQuantParametrization
from codeq.quant.dead_zone import DeadZoneLDZCompander, quantize_layers


class AllLayersQuantized:
    """A context that can be entered again and again: inside, the weights of `model` are quantized already.

    That takes less than layer by layer where there are many small ones. They are quantized when it is entered,
    differentiably, and must not change until it is left. The logits of a layer that nobody reads get the gradient 0,
    elsewhere they get none. A weight whose quantizer is no dead zone, was attached later,
    is disabled, or follows another parametrization quantizes itself when it is read, as outside.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [(first, weight) for _, first, weight in _first_quantizers(model)]
        self._layers = [layer for layer in layers if type(layer[0].quantizer) is DeadZoneLDZCompander]

    def __enter__(self) -> None:
        """Quantize."""
        enabled = [layer for layer in self._layers if layer[0].enabled]
        quantizers = [cast(DeadZoneLDZCompander, first.quantizer) for first, _ in enabled]
        weights = quantize_layers(quantizers, [weight.original for _, weight in enabled]) if enabled else ()
        for (first, _), quantized in zip(enabled, weights, strict=True):
            first.quantized = quantized

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget the quantized weights."""
        for first, _ in self._layers:
            first.quantized = None


def quantize_stacked(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The quantized weights of K copies of `model` under their latent weights' names, from their stacked `state`.

    state: as of `torch.func.stack_module_state`, parameters and buffers, each [K, ...]. Differentiable in it.
    """
    weights: dict[str, Tensor] = {}
    for name, first, _ in _first_quantizers(model):
        prefix, latent = f"{name}.parametrizations.weight.0.quantizer.", f"{name}.parametrizations.weight.original"
        own = {key.removeprefix(prefix): x for key, x in state.items() if key.startswith(prefix)}
        quantize = vmap(lambda own, w, quantizer=first.quantizer: functional_call(quantizer, own, (w,)))
        weights[latent] = quantize(own, state[latent])
    return weights


def _first_quantizers(model: nn.Module) -> Iterator[tuple[str, FakeQuantParametrization, ParametrizationList]]:
    """Each layer whose weight meets its quantizer first: its name, the quantizer, what the weight goes through."""
    for name, module in model.named_modules():
        if is_parametrized(module, "weight"):
            weight = cast(nn.ModuleDict, module.parametrizations)["weight"]
            if isinstance(weight, ParametrizationList) and isinstance(weight[0], FakeQuantParametrization):
                yield name, weight[0], weight
