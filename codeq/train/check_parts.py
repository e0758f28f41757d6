"""One step with each of a sweep's own parts before any trial starts, so that a mistake does not fail every trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import torch

from codeq.config.run import RunConfig
from codeq.data import RawImages, load_raw
from codeq.models import build_model
from codeq.quant import attach_weight_quantizers
from codeq.train.losses import weighted_terms
from codeq.train.training_loss import TrainingLoss

MAX_CHECKED = 16
"""Combinations of parts that are tried; each takes what it takes to build its network."""


def check_parts(configs: Iterable[RunConfig], raw: Mapping[str, RawImages]) -> None:
    """Build the parts of each config that `has_own_parts`, and take one step on two black images, on the CPU.

    raw: images that are loaded already, by `RunConfig.images_key`. Published weights are left out. Raises ValueError,
    and whatever a plug-in raises.
    """
    by_parts = {_parts(config): config for config in configs if config.has_own_parts}
    for config in list(by_parts.values())[:MAX_CHECKED]:
        images = raw.get(config.images_key) or load_raw(config)
        size, channels = config.img_size or images.train.img_size, images.train.channels
        model = build_model(
            config.model.name,
            config.model.kwargs,
            in_channels=channels,
            img_size=size,
            num_classes=images.num_classes,
        )
        if config.quantizer is not None:
            attach_weight_quantizers(
                model, config.quantizer.exclude_layers, config.quantizer.name, config.quantizer.kwargs
            )
        step = TrainingLoss(model, weighted_terms(config.loss_terms))
        loss, _ = step(torch.zeros(2, channels, size, size), torch.tensor([0, 1]))
        loss.backward()


def _parts(config: RunConfig) -> str:
    data = config.as_dict()
    return json.dumps([data[key] for key in ("model", "dataset", "img_size", "quantizer", "loss_terms")])
