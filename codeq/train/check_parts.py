"""Build the networks of a sweep before any trial starts: an error is found once, not by every trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from codeq.config.errors import ConfigError, Problem
from codeq.config.run import RunConfig
from codeq.config.text import first_line
from codeq.data import DatasetInfo, RawImages, dataset_info
from codeq.models import WeightsUnavailable, check_timm_name
from codeq.plugins import error_line
from codeq.train.batch_of_one import BatchTooSmall, check_batch_of_one
from codeq.train.loss_terms import weighted_terms
from codeq.train.network import NothingQuantized, build_network, without_numbers
from codeq.train.training_loss import TrainingLoss

MAX_CHECKED = 16
"""Maximum number of networks that are built."""
TIMM = "timm/"

MakeProblem = Callable[[str, str], Problem]
"""(dotted key of the template, reason) -> problem with the key's file and line."""


def check_parts(
    configs: Iterable[RunConfig],
    problem: MakeProblem,
    raw: Mapping[str, RawImages] | None = None,
    *,
    fetch_weights: bool = False,
) -> list[Problem]:
    """Build the network of each config that `needs_building`, on the CPU, for images of its data set's size.

    With a plug-in's parts or arguments of the network, one training step on two black images is run too. raw: images
    that are loaded already, by `RunConfig.images_key`; a plug-in's data set is needed there, else the config is not
    checked. fetch_weights: load published weights, which stores them for the trials.

    Returns the entries of `exclude_layers` that name no layer of any network. Raises ConfigError with every problem
    of the built-in parts, and the first exception of a plug-in.
    """
    configs = [config for config in configs if config.needs_building]
    unknown = _unknown_names(configs)
    problems = [problem("model", reason) for reason in unknown.values()]
    unmatched: dict[str, str] = {}
    matched: set[str] = set()
    for config in list({_parts(config): config for config in configs}.values())[:MAX_CHECKED]:
        info = dataset_info(config, (raw or {}).get(config.images_key))
        if info is None or config.model.name in unknown:
            continue
        try:
            found = _check(config, info, fetch_weights)
        except Exception as error:  # torch and timm raise many types
            if error_line(error):  # of a plug-in
                raise
            key = blamed_key(error)
            problems.append(problem(key, first_line(error).removeprefix(f"{key}: ")))
        else:
            unmatched |= found
            matched |= {part for part in _excluded(config) if part not in found}
    if problems:
        raise ConfigError(problems)
    return [problem("quantizer.exclude_layers", text) for part, text in unmatched.items() if part not in matched]


def _unknown_names(configs: Iterable[RunConfig]) -> dict[str, str]:
    """The models that timm does not know, with the reasons."""
    unknown = {}
    for name in dict.fromkeys(config.model.name for config in configs):
        try:
            if name.startswith(TIMM):
                check_timm_name(name.removeprefix(TIMM))
        except ValueError as error:
            unknown[name] = str(error)
    return unknown


def _check(config: RunConfig, info: DatasetInfo, fetch_weights: bool) -> dict[str, str]:
    """Build the config's network, with its quantizers; returns the result of `attach_quantizers`."""
    if config.has_own_parts or (config.pretrained and fetch_weights):
        model, unmatched = _build(config, info, fetch_weights)
        if config.has_own_parts:
            step = TrainingLoss(model, weighted_terms(config.loss_terms))
            loss, _ = step(torch.zeros(2, *info.shape), torch.tensor([0, 1]))
            loss.backward()
        return unmatched
    return without_numbers(lambda: _build(config, info, False)[1])


def _build(config: RunConfig, info: DatasetInfo, fetch_weights: bool) -> tuple[nn.Module, dict[str, str]]:
    model, unmatched = build_network(config, info, pretrained=config.pretrained and fetch_weights)
    if config.batch_size == 1:
        check_batch_of_one(model, info.shape)
    return model, unmatched


def blamed_key(error: Exception) -> str:
    """Return the key to blame for an error of `create_train_state`: the one that its message names, else `model`."""
    named, colon, _ = str(error).partition(": ")
    if colon and named in ("device", "use_compile"):
        return named
    if isinstance(error, NothingQuantized):
        return "quantizer.exclude_layers"
    if isinstance(error, BatchTooSmall):
        return "batch_size"
    return "pretrained" if isinstance(error, WeightsUnavailable) else "model"


def _excluded(config: RunConfig) -> list[str]:
    return config.quantizer.exclude_layers if config.quantizer else []


def _parts(config: RunConfig) -> str:
    """A key that is equal for configs whose networks are built and checked alike."""
    data = config.as_dict()
    names = ["model", "dataset", "img_size", "pretrained"]
    own = [data[name] for name in ("quantizer", "loss_terms")] if config.has_own_parts else [_excluded(config)]
    norms = config.quantizer is not None and config.quantizer.quantize_norms
    return json.dumps([*(data[name] for name in names), *own, norms, config.batch_size == 1])
