"""Builds any timm model by its name. timm is slow to import, so it is imported only when a model is built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from codeq.config.text import one_line

VIT = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
"""The vision transformer of the literature's CIFAR experiments: ViT-Tiny with 16-pixel patches."""

_SET_ELSEWHERE = {
    "in_chans": "the data set sets it",
    "checkpoint_path": "weights come from pretrained: true only",
    "pretrained_cfg": "weights come from pretrained: true only",
    "pretrained_cfg_overlay": "weights come from pretrained: true only",
}


@dataclass(frozen=True)
class ModelSpec:
    """Input images of `in_channels` x `img_size` x `img_size` pixels, `num_classes` output logits."""

    in_channels: int
    img_size: int
    num_classes: int
    pretrained: bool = False

    def __str__(self) -> str:
        return f"{self.in_channels}x{self.img_size}x{self.img_size} images"


class WeightsUnavailable(RuntimeError):
    """Published weights could be neither downloaded nor found in the local cache."""


def build_timm(name: str, spec: ModelSpec, kwargs: Mapping[str, Any]) -> nn.Module:
    """Return timm's model `name` (`MODEL` or `MODEL.TAG`), in training mode. kwargs: further arguments of its builder.

    Raises ValueError for an unknown name, for arguments that timm rejects and for an image size that the model does not
    accept; WeightsUnavailable if published weights are requested and cannot be loaded.
    """
    check_timm_name(name)
    for key in kwargs.keys() & _SET_ELSEWHERE.keys():
        raise ValueError(f"timm/{name}: kwargs.{key} cannot be given: {_SET_ELSEWHERE[key]}")
    model = _load_pretrained(name, spec, kwargs) if spec.pretrained else _build(name, spec, kwargs)
    _try_out(model, name, spec)
    return model


def check_timm_name(name: str) -> None:
    """Raise ValueError, with the nearest names, if timm knows no model `name` (`MODEL` or `MODEL.TAG`)."""
    import timm

    tagged = "." in name
    if timm.is_model(name) and (not tagged or name in timm.list_pretrained()):
        return
    near = difflib.get_close_matches(name, timm.list_pretrained() if tagged else timm.list_models(), n=3)
    hint = f"; did you mean {' or '.join(f'timm/{n}' for n in near)}?" if near else ""
    raise ValueError(f"unknown timm model {name!r}, must be a name that timm.list_models() knows{hint}")


def _build(name: str, spec: ModelSpec, kwargs: Mapping[str, Any]) -> nn.Module:
    try:
        return _create(name, spec, kwargs)
    except Exception as error:  # timm and torch raise many types for wrong arguments
        raise ValueError(f"timm/{name} cannot be built for {spec}: {one_line(error)}") from error


def _load_pretrained(name: str, spec: ModelSpec, kwargs: Mapping[str, Any]) -> nn.Module:
    try:
        return _create(name, spec, kwargs)
    except Exception as error:  # the hub's client, its HTTP library and timm raise different types
        raise WeightsUnavailable(
            f"published weights of timm/{name} cannot be loaded ({one_line(error)}): set pretrained: false, "
            "or fetch them once where there is a network and let HF_HOME name that cache"
        ) from error


def _create(name: str, spec: ModelSpec, kwargs: Mapping[str, Any]) -> nn.Module:
    import timm

    options: dict[str, Any] = {
        "in_chans": spec.in_channels,
        "num_classes": spec.num_classes,
        "pretrained": spec.pretrained,
        **kwargs,
    }
    try:
        return timm.create_model(name, img_size=spec.img_size, **options)
    except TypeError as error:
        # Networks that accept any size (most convnets) have no img_size argument.
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, **options)


def _try_out(model: nn.Module, name: str, spec: ModelSpec) -> None:
    """Run the model on one image: timm builds some models for sizes that then fail at the first batch."""
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, spec.in_channels, spec.img_size, spec.img_size))
    except (AssertionError, IndexError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = f"timm/{name} does not take {spec}: {one_line(error)}; img_size: N resizes images to NxN"
        raise ValueError(reason) from error
    finally:
        model.train()
