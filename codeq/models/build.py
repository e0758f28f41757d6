"""Build a network by its registered name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from codeq.registry import MODELS, Part


def build_model(
    name: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    in_channels: int,
    img_size: int,
    num_classes: int,
    pretrained: bool = False,
) -> nn.Module:
    """Return a newly initialised network: (B, C, S, S) float images in, (B, num_classes) logits out.

    name, kwargs: as in a config's `model`. pretrained: load published weights. The initial weights are drawn from
    torch's global generator.

    Raises ValueError for an unknown name, for `pretrained` if the network has no published weights, and for an image
    size or arguments that the network does not accept; WeightsUnavailable if published weights cannot be loaded.
    """
    part = MODELS[name]
    if pretrained and "pretrained" not in part.supplied:
        raise ValueError(f"{name} has no published weights: pretrained needs vit or timm/NAME")
    model = part(
        **({"name": name} if "name" in part.supplied else {}),
        in_channels=in_channels,
        img_size=img_size,
        num_classes=num_classes,
        pretrained=pretrained,
        **part.arguments(kwargs or {}),
    )
    if part.is_plugin:
        _try_out(part, model, (in_channels, img_size, img_size), num_classes)
    return model  # type: ignore[no-any-return]


def _try_out(part: Part, model: object, image: tuple[int, int, int], num_classes: int) -> None:
    """Run a plug-in's network on one image. Raises PluginError if it is no module or its logits' shape is wrong."""
    if not isinstance(model, nn.Module):
        raise part.error(f"returned {type(model).__name__}, must return a torch.nn.Module")
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(1, *image))
    except Exception as error:
        shape = "x".join(map(str, image))
        raise part.error(f"does not take {shape} images: {type(error).__name__}: {error}", error) from error
    finally:
        model.train()
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        given = f"of shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise part.error(f"its output for one image is {given}, must be logits of shape [1, {num_classes}]")
