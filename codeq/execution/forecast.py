"""Forecast of a sweep's time on this machine, without Ray: measured epochs times the trial-epochs of the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean
from typing import Any

from codeq.config import RunConfig, Template
from codeq.config.epoch_budget import epoch_budget
from codeq.config.text import format_duration
from codeq.data import load_data, load_or_fake
from codeq.execution.capacity import gpus_of_trial, slots_for_trials, usable_cpus
from codeq.train.device import gpu_count, prepare_device
from codeq.train.epoch_time import EpochTime, measure_epoch
from codeq.train.loop import create_train_state
from codeq.train.nvidia import nvidia_driver

START_S = 9.0
"""Seconds for imports, Ray's start and end, and the first trials' processes; measured on two CPU cores."""
NEXT_S = 0.05
"""Seconds between a trial's end and the next one's start: record, draw, write the config. Measured as START_S."""
REPORT_S = 0.012
"""Seconds that a trial-epoch takes besides training, mainly in Tune's processes. Measured as START_S."""
MOST_SHAPES = 8
"""Maximum number of run shapes that are measured; each takes some seconds."""


@dataclass(frozen=True)
class Probe:
    """One shape of the sweep's runs. is_fake: whether fake images are used because the data set's files are missing."""

    name: str
    time: EpochTime
    is_fake: bool


@dataclass(frozen=True)
class Forecast:
    """at_once: trials that train at the same time. Times are seconds of the whole command.

    expected: None if the stopping rule allows no forecast. p10_p90: see `codeq.config.epoch_budget.EpochBudget`.
    worst: the time if no trial is stopped and every run has the slowest shape.
    """

    probes: tuple[Probe, ...]
    unmeasured: int
    at_once: int
    expected: float | None
    p10_p90: tuple[float, float] | None
    worst: float


def forecast(template: Template) -> Forecast:
    """Measure a run of each shape and compute the sweep's time. Assumes that concurrent trials do not slow each other.

    Nothing is downloaded: fake images replace a missing data set, and published weights are not loaded. Raises
    DataUnavailable for missing image folders, ValueError for a model, a device or resources that are not available.
    """
    at_once = trials_at_once(template)
    shapes = list({_shape(config): config for config in reversed(template.boundary_configs)}.values())
    probes = tuple(_probe(config, template) for config in shapes[:MOST_SHAPES])
    trials, epochs = int(template.sweep.trials or 1), template.max_epochs
    mean_s, slowest_s = mean(p.time.epoch_s for p in probes), max(p.time.epoch_s for p in probes)
    starts_s = (mean(p.time.build_s for p in probes) + NEXT_S) * trials / at_once

    def seconds(trial_epochs: float, epoch_s: float) -> float:
        """Return the sweep's seconds, at least those of one trial that trains all its epochs."""
        return START_S + starts_s + (epoch_s + REPORT_S) * max(trial_epochs / at_once, epochs)

    planned = epoch_budget(template)
    return Forecast(
        probes=probes,
        unmeasured=len(shapes) - len(probes),
        at_once=at_once,
        expected=seconds(planned.expected, mean_s) if planned else None,
        p10_p90=(seconds(planned.p10_p90[0], mean_s), seconds(planned.p10_p90[1], mean_s)) if planned else None,
        worst=seconds(trials * epochs, slowest_s),
    )


def trials_at_once(template: Template) -> int:
    """Return the number of trials that fit on this machine at once. Raises ValueError if none fits."""
    sweep, gpus_available, cpus_available = template.sweep, _available_gpus(), usable_cpus()
    cpu, gpu = sweep.resources.cpu, _gpus(template)
    slots = slots_for_trials(cpu, gpu, cpus_available, gpus_available)
    if not slots:
        kind, wanted, available = ("cpu", cpu, cpus_available) if cpu > cpus_available else ("gpu", gpu, gpus_available)
        raise ValueError(f"sweep.resources.{kind} is {wanted:g}, but this machine has {available}")
    return min(slots, sweep.max_concurrent or slots, int(sweep.trials or 1))


def _shape(config: RunConfig) -> str:
    """Return a key that is equal for configs whose training steps take the same time.

    It omits seeds, epochs, learning rates, decays, lambdas, and the quantizer's initial logits and bit-widths.
    """
    data = config.as_dict()
    for key in ("seed", "epochs", "lr_scheduler", "warmup_epochs", "workers", "data_dir", "save_dir", "wandb_project"):
        del data[key]
    for key in ("quantizer", "optimizer", "loss_terms"):
        data[key] = _without_numbers(data[key])
    return json.dumps(data, sort_keys=True)


def _without_numbers(data: Any) -> Any:
    """Return `data` with every number except booleans replaced by 0."""
    match data:
        case dict():
            return {key: _without_numbers(value) for key, value in data.items()}
        case list():
            return [_without_numbers(value) for value in data]
        case float() | int() if not isinstance(data, bool):
            return 0
    return data


def _gpus(template: Template) -> float:
    device = str(template.tree.get("device", "auto"))
    return gpus_of_trial(template.sweep.resources.gpu, device, _available_gpus())


def _available_gpus() -> int:
    """The GPUs that Ray would see, even if PyTorch cannot use them, which is then told."""
    driver = nvidia_driver()
    return len(driver.gpus) if driver else gpu_count()


def _probe(config: RunConfig, template: Template) -> Probe:
    raw, is_fake = load_or_fake(config)
    threads = config.threads or template.sweep.resources.threads
    device = "cpu" if _available_gpus() and not _gpus(template) else config.device
    config = config.model_copy(update={"threads": threads, "device": device, "pretrained": False})
    state = create_train_state(config, load_data(config, prepare_device(device, threads), raw))
    return Probe(f"{config.network}, batch {config.batch_size}", measure_epoch(state), is_fake)


def forecast_lines(found: Forecast) -> Iterator[str]:
    """Yield the measured epochs and the forecast as lines of text."""
    for probe in found.probes:
        images = " (made-up images: the data set is not there)" if probe.is_fake else ""
        yield f"an epoch of {probe.name}: {probe.time.epoch_s:.3g} s{images}"
    if found.unmeasured:
        yield f"{found.unmeasured} more shapes of runs not measured"
    yield f"at once: {found.at_once}"
    yield f"time: {_time(found)}"


def _time(found: Forecast) -> str:
    worst = format_duration(found.worst)
    if found.expected is None or found.p10_p90 is None:
        return f"at most {worst}"
    expected, low, high = map(format_duration, (found.expected, *found.p10_p90))
    return f"about {worst}" if low == worst else f"about {expected} expected ({low} to {high}), at most {worst}"
