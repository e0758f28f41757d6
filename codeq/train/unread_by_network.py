"""Searched values that nothing reads in the networks that are searched, such as factors of layers they do not have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from codeq.config import Template
from codeq.config.errors import Problem
from codeq.config.run import RunConfig
from codeq.config.unread import needs_network, unread_keys
from codeq.data import RawImages, dataset_info
from codeq.quant import layer_names
from codeq.train.check_parts import MAX_CHECKED
from codeq.train.network import build_plain


@dataclass(frozen=True)
class Layers:
    """What a network has. names: of the layers that are no norms; norms: of the norms that have a weight."""

    has_linear: bool
    has_conv: bool
    names: tuple[str, ...]
    norms: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Layers:
        """The layers of a network without quantizers."""
        kinds = {kind: any(isinstance(module, kind) for module in model.modules()) for kind in (nn.Linear, nn.Conv2d)}
        names = layer_names(model, norms=False)
        norms = [name for name in layer_names(model) if name not in names]
        return cls(kinds[nn.Linear], kinds[nn.Conv2d], tuple(names), tuple(norms))


def unread_by_network(template: Template, raw: Mapping[str, RawImages] | None = None) -> list[Problem]:
    """A problem for every searched value that is read in none of the networks that can be drawn.

    At most MAX_CHECKED networks are built; what others may read counts as read. raw: images that are loaded already, by
    `RunConfig.images_key`, without which a plug-in's data set is not known.
    """
    if not needs_network(template.tree, template.boundary_configs):
        return []
    known: dict[str, Layers | None] = {}

    def unread(config: RunConfig) -> dict[str, str]:
        data = config.as_dict()
        key = json.dumps([data[name] for name in ("model", "dataset", "img_size")])
        if key not in known:
            known[key] = _layers(config, raw or {}) if len(known) < MAX_CHECKED else None
        layers = known[key]
        return unread_keys(config) | (dict(_unread(config, layers)) if layers else {})

    return template.unread_problems(unread)


def _layers(config: RunConfig, raw: Mapping[str, RawImages]) -> Layers | None:
    info = dataset_info(config, raw.get(config.images_key))
    try:
        with torch.device("meta"):
            return Layers.of(build_plain(config, info)) if info else None
    except Exception:  # some networks compute with the numbers; `check_parts` tells what cannot be built
        return None


def _unread(config: RunConfig, layers: Layers) -> Iterator[tuple[str, str]]:
    """The dotted keys that do not matter for this network, each with the reason."""
    quantizer, model = config.quantizer, config.model
    if quantizer is not None:
        parts = quantizer.exclude_layers
        if all(any(part in name for part in parts) for name in layers.norms):
            yield "quantizer.quantize_norms", f"{model} has no norm layers{' that are not excluded' if parts else ''}"
        quantized = layers.names + (layers.norms if quantizer.quantize_norms else ())
        idle = [index for index, part in enumerate(parts) if not any(part in name for name in quantized)]
        reason = f"it excludes no layer of {model} that would be quantized"
        yield from ((f"quantizer.exclude_layers.{index}", reason) for index in idle)
        if len(idle) == len(parts):
            yield "quantizer.exclude_layers", reason
    for term in config.loss_terms:
        if term.name == "group_lasso":
            key = f"loss_terms.{term.name}"
            has = {"lambda_linear": layers.has_linear, "lambda_conv": layers.has_conv}
            names = {"lambda_linear": "linear layers", "lambda_conv": "convolutions"}
            absent = {name: f"{model} has no {names[name]}" for name, is_there in has.items() if not is_there}
            yield from ((f"{key}.kwargs.{name}", reason) for name, reason in absent.items())
            if absent and not any(value for name, value in term.kwargs.items() if has[name]):
                other = "" if len(absent) == len(has) else ", and the other factor is 0"
                yield f"{key}.lambda", " and ".join(absent.values()) + other
