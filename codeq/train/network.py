"""The network of a config with its quantizers, and what `exclude_layers` does to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from codeq.config.errors import did_you_mean
from codeq.config.run import RunConfig
from codeq.data import DatasetInfo
from codeq.models import build_model
from codeq.quant import attach_weight_quantizers, layer_names, quantized_layers

MAX_LISTED = 8

Built = TypeVar("Built")


class NothingQuantized(ValueError):
    """`exclude_layers` leaves no layer to quantize, so the run would be one in full precision under another name."""


def build_network(config: RunConfig, info: DatasetInfo, *, pretrained: bool) -> tuple[nn.Module, dict[str, str]]:
    """Return the config's network for images as in `info`, with quantizers, and the result of `attach_quantizers`.

    pretrained: load published weights. Raises the exceptions of `build_model` and `attach_quantizers`.
    """
    model = build_plain(config, info, pretrained=pretrained)
    return model, attach_quantizers(model, config)


def build_plain(config: RunConfig, info: DatasetInfo, *, pretrained: bool = False) -> nn.Module:
    """Return the config's network without quantizers. Raises the exceptions of `build_model`."""
    return build_model(
        config.model.name,
        config.model.kwargs,
        in_channels=info.channels,
        img_size=info.img_size,
        num_classes=info.num_classes,
        pretrained=pretrained,
    )


def without_numbers(build: Callable[[], Built]) -> Built:
    """Return what `build` returns for shapes without numbers, which takes a quarter of the time and no memory, or for
    real ones if that fails: some networks compute with the numbers while they are built."""
    try:
        with torch.device("meta"):
            return build()
    except Exception:
        return build()


def attach_quantizers(model: nn.Module, config: RunConfig) -> dict[str, str]:
    """Attach the config's quantizer to the layers of `model`, in place; nothing if it has none.

    Returns the entries of `exclude_layers` that are in no layer's name, each with a sentence that says so and the
    nearest name. Raises NothingQuantized if no layer is left, and the exceptions of `attach_weight_quantizers`.
    """
    quantizer = config.quantizer
    if quantizer is None:
        return {}
    layers, quantizable = layer_names(model), layer_names(model, norms=quantizer.quantize_norms)
    attach_weight_quantizers(
        model, quantizer.exclude_layers, quantizer.name, quantizer.kwargs, quantize_norms=quantizer.quantize_norms
    )
    if next(quantized_layers(model), None) is None:
        left = f"quantizer.exclude_layers: leaves no layer of {config.model} to quantize ({_listed(quantizable)})"
        norms = "; quantize_norms: true quantizes its norms too" if len(quantizable) < len(layers) else ""
        raise NothingQuantized(f"{left}{norms}; quantizer: null trains in full precision")
    unmatched = [part for part in quantizer.exclude_layers if not any(part in name for name in layers)]
    return {part: f"{part} is in no layer's name of {config.model}{_nearest(part, quantizable)}" for part in unmatched}


def _nearest(part: str, layers: Sequence[str]) -> str:
    names = dict.fromkeys(name for layer in layers for name in (*layer.split("."), layer))
    return did_you_mean(part, names) or f": {_listed(layers)}"


def _listed(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - MAX_LISTED} more" if len(layers) > MAX_LISTED else ""
    return ", ".join(layers[:MAX_LISTED]) + more
