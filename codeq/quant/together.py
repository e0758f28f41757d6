"""All weights of a model quantized at once, which takes less than layer by layer where there are many small ones."""

from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from codeq.quant.attach import FakeQuantParametrization
from codeq.quant.quantizer import Quantizer


class QuantizedTogether:
    """A context that can be entered again and again: inside, the weights of `model` are quantized already.

    They are quantized by `Quantizer.quantize_layers` when it is entered, differentiably, and must not change until it
    is left. A weight whose quantizer was attached later, is disabled, or follows another parametrization quantizes
    itself when it is read, as outside.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = _by_class(model)

    def __enter__(self) -> None:
        """Quantize."""
        quantized: list[tuple[FakeQuantParametrization, Tensor]] = []
        for kind, layers in self._layers.items():
            enabled = [(fake_quant, weight) for _, fake_quant, weight in layers if fake_quant.enabled]
            fake_quants = [fake_quant for fake_quant, _ in enabled]
            quantizers = [fake_quant.quantizer for fake_quant in fake_quants]
            weights = kind.quantize_layers(quantizers, [weight.original for _, weight in enabled])
            quantized += zip(fake_quants, weights, strict=True)
        for fake_quant, weight in quantized:  # only now, for what raises leaves no trace
            fake_quant.ahead.weight = weight

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget the quantized weights."""
        for layers in self._layers.values():
            for _, fake_quant, _ in layers:
                fake_quant.ahead.weight = None


def quantize_stacked(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The quantized weights of K copies of `model` under their latent weights' names, from their stacked `state`.

    state: as of `torch.func.stack_module_state`, parameters and buffers, each [K, ...]. Differentiable in it. Computes
    at once what `module.weight` would under vmap, without vmap's cost at every layer:

        toggle_quantization(model, False)
        weights = quantize_stacked(model, state)
        vmap(lambda state, x: functional_call(model, state, (x,)))({**state, **weights}, images)
    """
    weights: dict[str, Tensor] = {}
    for kind, layers in _by_class(model).items():
        quantizers = {name: fake_quant.quantizer for name, fake_quant, _ in layers}
        own = [
            {key: state[f"{name}.parametrizations.weight.0.quantizer.{key}"] for key in _state_names(quantizer)}
            for name, quantizer in quantizers.items()
        ]
        latent = [f"{name}.parametrizations.weight.original" for name in quantizers]
        quantized = kind.quantize_layers(list(quantizers.values()), [state[name] for name in latent], own)
        weights.update(zip(latent, quantized, strict=True))
    return weights


Layer = tuple[str, FakeQuantParametrization, ParametrizationList]
"""A layer's dotted name, its quantizer where that comes first, and what its weight goes through."""


def _by_class(model: nn.Module) -> dict[type[Quantizer], list[Layer]]:
    layers: dict[type[Quantizer], list[Layer]] = defaultdict(list)
    for name, module in model.named_modules():
        if is_parametrized(module, "weight"):
            weight = cast(ParametrizationList, module.parametrizations["weight"])
            if isinstance(first := weight[0], FakeQuantParametrization):
                layers[type(first.quantizer)].append((name, first, weight))
    return layers


def _state_names(quantizer: nn.Module) -> list[str]:
    return [name for name, _ in (*quantizer.named_parameters(), *quantizer.named_buffers())]
