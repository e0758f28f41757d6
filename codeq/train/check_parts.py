"""Run one training step with each plug-in of a sweep before any trial starts: an error is found once, not per trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import torch

from codeq.config.run import RunConfig
from codeq.data import RawImages, load_raw
from codeq.models import build_model
from codeq.quant import attach_weight_quantizers
from codeq.train.loss_terms import weighted_terms
from codeq.train.training_loss import TrainingLoss

MAX_CHECKED = 16
"""Maximum number of combinations of parts that are tested; each builds its network once."""


def check_parts(configs: Iterable[RunConfig], raw: Mapping[str, RawImages]) -> None:
    """Build the parts of each config that `has_own_parts`, and run one training step on two black images, on the CPU.

    raw: images that are loaded already, by `RunConfig.images_key`. Published weights are not loaded. Raises ValueError
    and every exception of a plug-in.
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
