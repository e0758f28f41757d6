"""Attaches a quantizer to every weight of a model, enables and disables them, and finds them.

A layer's latent weight stays trainable as `NAME.parametrizations.weight.original`; its quantizer is
`NAME.parametrizations.weight.0.quantizer`; `module.weight` is the quantized weight, computed at each access
(once inside `torch.nn.utils.parametrize.cached()`).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq.config.text import pluralize
from codeq.quant.base import Quantizer, build_quantizer
from codeq.quant.norms import is_norm

log = logging.getLogger(__name__)


class FakeQuantParametrization(nn.Module):
    """The parametrization of `module.weight`: applies the quantizer unless `enabled` is False.

    quantized: the quantized weight, if `all_layers_quantized` has computed it.
    """

    quantized: Tensor | None

    def __init__(self, quantizer: Quantizer, enabled: bool = True) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.enabled = enabled
        self.quantized = None

    def forward(self, w: Tensor) -> Tensor:
        """Return the weight that the layer uses for the latent weight `w` (any shape)."""
        if self.quantized is not None:
            return self.quantized
        return self.quantizer(w) if self.enabled else w

    def right_inverse(self, w: Tensor) -> Tensor:
        """Return the latent weight that `module.weight = w` stores: `w`."""
        return w


def attach_weight_quantizers(
    model: nn.Module,
    exclude_layers: Collection[str],
    quantizer: str | type[Quantizer],
    quantizer_kwargs: Mapping[str, Any],
    enabled: bool = True,
    quantize_norms: bool = True,
) -> None:
    """Attach a quantizer to every layer of `model` that has a weight, in place.

    A layer is a submodule with a parameter `weight`, of any shape, whose dotted name contains none of
    `exclude_layers`. A weight that two modules share gets none: quantizing it in one of them would untie them.
    quantizer: a registered name or a class, created with `quantizer_kwargs` for each layer and moved to the
    layer's device. quantize_norms: whether norms (`is_norm`) are layers too. They are here, as in the method's own
    code; a run config's default is that they are not.

    Raises ValueError for an unknown quantizer, or if a weight is parametrized already (then none is attached).
    """
    build = partial(build_quantizer, quantizer) if isinstance(quantizer, str) else quantizer
    modules = dict(model.named_modules())  # before attaching, which adds modules
    layers = {name: m for name, m in modules.items() if not any(part in name for part in exclude_layers)}
    if not quantize_norms:
        layers = _without_norms(layers)
    _refuse_parametrized(layers)
    for name, weight in _unshared_weights(model, layers).items():
        fake_quant = FakeQuantParametrization(build(**quantizer_kwargs).to(weight.device), enabled)
        fake_quant.quantizer.get_bitwidth()
        parametrize.register_parametrization(layers[name], "weight", fake_quant)
        log.info("Attached weight quantizer to layer: %s", name)


def layer_names(model: nn.Module, *, norms: bool = True) -> list[str]:
    """Return the dotted names of the submodules that have a weight of their own, which `exclude_layers` may name.

    norms: whether norms (`is_norm`) are among them.
    """
    named = [(name, m) for name, m in model.named_modules() if m._parameters.get("weight") is not None]
    return [name for name, module in named if norms or not is_norm(module)]


def _without_norms(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return `layers` without norms, and log how many of these have a weight."""
    norms = {name for name, module in layers.items() if is_norm(module)}
    scales = [name for name in norms if getattr(layers[name], "weight", None) is not None]
    if scales:
        log.info("No weight quantizer for %s; quantizer.quantize_norms: true attaches them",
                 pluralize(len(scales), "norm layer"))  # fmt: skip
    return {name: module for name, module in layers.items() if name not in norms}


def _refuse_parametrized(layers: Mapping[str, nn.Module]) -> None:
    """Raise ValueError with all layer names if weights are parametrized already: two quantizers would be chained."""
    names = [name for name, module in layers.items() if parametrize.is_parametrized(module, "weight")]
    if names:
        raise ValueError(f"weight is parametrized already, attach quantizers once: {', '.join(names)}")


def _unshared_weights(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Return the weight parameters of `layers` by name, without those that another module of `model` shares."""
    holders = Counter(id(p) for module in model.modules() for p in module._parameters.values())
    weights = {name: module._parameters.get("weight") for name, module in layers.items()}
    present = {name: weight for name, weight in weights.items() if weight is not None}
    for name, weight in present.items():
        if holders[id(weight)] > 1:
            log.info("No weight quantizer for layer, its weight is shared: %s", name)
    return {name: weight for name, weight in present.items() if holders[id(weight)] == 1}


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, Quantizer]]:
    """Yield each layer with an attached quantizer, enabled or not: (dotted name, module, its quantizer)."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            for entry in cast(parametrize.ParametrizationList, module.parametrizations["weight"]):
                if isinstance(entry, FakeQuantParametrization):
                    yield name, module, entry.quantizer


def toggle_quantization(model: nn.Module, enabled: bool) -> None:
    """Enable or disable all attached quantizers of `model`; disabled, its layers use the latent weights."""
    for module in model.modules():
        if isinstance(module, FakeQuantParametrization):
            module.enabled = enabled
