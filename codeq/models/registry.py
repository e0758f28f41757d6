"""Model names and the functions that build them. A new model is a function under `@register("name")`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from codeq.config.errors import did_you_mean
from codeq.models.spec import ModelSpec
from codeq.models.timm_models import build_timm

TIMM_PREFIX = "timm/"


Builder = Callable[[ModelSpec], nn.Module]


@dataclass(frozen=True)
class _Entry:
    build: Builder
    has_published_weights: bool


_ENTRIES: dict[str, _Entry] = {}


def register(name: str, *, has_published_weights: bool = False) -> Callable[[Builder], Builder]:
    """Make a builder known as `name`. Raises ValueError for a name that is taken."""

    def add(build: Builder) -> Builder:
        if name in _ENTRIES:
            raise ValueError(f"model {name} is registered twice")
        _ENTRIES[name] = _Entry(build, has_published_weights)
        return build

    return add


def model_names() -> tuple[str, ...]:
    """Every registered name; `timm/NAME` names come on top of them."""
    return tuple(_ENTRIES)


def build_model(
    name: str, *, in_channels: int, img_size: int, num_classes: int, pretrained: bool = False
) -> nn.Module:
    """A freshly initialised network: (B, C, S, S) float images in, (B, num_classes) logits out.

    name: one of `model_names()`, or `timm/NAME` for any timm model. pretrained: start from timm's published
    weights. The initial weights are drawn from torch's global generator.

    Raises ValueError for an unknown name, for `pretrained` where no weights were ever published, and for an
    image size the network cannot take; WeightsUnavailable if published weights cannot be loaded.
    """
    spec = ModelSpec(in_channels, img_size, num_classes, pretrained)
    if name.startswith(TIMM_PREFIX):
        return build_timm(name.removeprefix(TIMM_PREFIX), spec)
    entry = _entry(name)
    if pretrained and not entry.has_published_weights:
        raise ValueError(f"{name} has no published weights: pretrained needs vit or {TIMM_PREFIX}NAME")
    return entry.build(spec)


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        choices = f"one of {', '.join(model_names())}, or {TIMM_PREFIX}NAME"
        raise ValueError(f"unknown model {name!r}, must be {choices}{did_you_mean(name, _ENTRIES)}")
    return _ENTRIES[name]
