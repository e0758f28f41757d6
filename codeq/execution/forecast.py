"""How long a sweep will take on this machine, without Ray: epochs measured here, trial-epochs from the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean
from typing import Any

import joblib

from codeq.config import RunConfig, Template
from codeq.config.epoch_budget import epoch_budget
from codeq.data import load_data, load_or_fake
from codeq.execution.capacity import gpus_of_trial, slots_for_trials
from codeq.train.device import gpu_count, prepare_device
from codeq.train.epoch_time import EpochTime, measure_epoch
from codeq.train.loop import create_train_state

START_S = 9.0
"""Imports, Ray's start and end, the first trials' processes: measured on two CPU cores."""
NEXT_S = 0.05
"""From a trial's end to the next one's start: told, drawn and written down. As START_S."""
REPORT_S = 0.012
"""What a trial-epoch costs beyond its training: Tune's part, and its processes beside the trials'. As START_S."""
MOST_SHAPES = 8
"""Shapes of runs that are measured, each of which takes some seconds."""


@dataclass(frozen=True)
class Probe:
    """One shape of the sweep's runs. is_fake: whether its images are, for want of the data set's files."""

    name: str
    time: EpochTime
    is_fake: bool


@dataclass(frozen=True)
class Forecast:
    """at_once: trials that train side by side. Times are seconds of a whole command.

    expected: None where the stopping rule allows no forecast. p10_p90: see `codeq.config.epoch_budget.EpochBudget`.
    worst: if no trial is stopped, and every run has the slowest shape.
    """

    probes: tuple[Probe, ...]
    unmeasured: int
    at_once: int
    expected: float | None
    p10_p90: tuple[float, float] | None
    worst: float


def forecast(template: Template) -> Forecast:
    """Measure a run of each shape, alone on the machine, and reckon: trials are taken not to slow each other.

    Nothing is downloaded: made-up images stand in for those of a data set that is not there, and weights that a
    published model starts from are left out. Raises DataUnavailable for image folders that are not there, ValueError
    for a model, a device or resources that are not to be had.
    """
    at_once = trials_at_once(template)
    shapes = list({_shape(config): config for config in reversed(template.boundary_configs)}.values())
    probes = tuple(_probe(config, template) for config in shapes[:MOST_SHAPES])
    trials, epochs = int(template.sweep.trials or 1), template.max_epochs
    mean_s, slowest_s = mean(p.time.epoch_s for p in probes), max(p.time.epoch_s for p in probes)
    starts_s = (mean(p.time.build_s for p in probes) + NEXT_S) * trials / at_once

    def seconds(trial_epochs: float, epoch_s: float) -> float:
        """No sooner than a trial that trains all its epochs."""
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
    """Trials for which this machine has room. Raises ValueError if there is none for one."""
    sweep, gpus_available, cpus_available = template.sweep, gpu_count(), joblib.cpu_count()
    cpu, gpu = sweep.resources.cpu, _gpus(template)
    slots = slots_for_trials(cpu, gpu, cpus_available, gpus_available)
    if not slots:
        kind, wanted, available = ("cpu", cpu, cpus_available) if cpu > cpus_available else ("gpu", gpu, gpus_available)
        raise ValueError(f"sweep.resources.{kind} is {wanted:g}, but this machine has {available}")
    return min(slots, sweep.max_concurrent or slots, int(sweep.trials or 1))


def _shape(config: RunConfig) -> str:
    """A text that configs share whose steps do the same work: without seeds, epochs, and the numbers that only scale.

    Those are the learning rates, decays and lambdas, and the quantizer's initial logits and bit-widths.
    """
    data = config.as_dict()
    for key in ("seed", "epochs", "lr_scheduler", "warmup_epochs", "workers", "data_dir", "save_dir", "wandb_project"):
        del data[key]
    for key in ("quantizer", "optimizer", "loss_terms"):
        data[key] = _without_numbers(data[key])
    return json.dumps(data, sort_keys=True)


def _without_numbers(data: Any) -> Any:
    """`data` with every number that is not a flag replaced by 0."""
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
    return gpus_of_trial(template.sweep.resources.gpu, device, gpu_count())


def _probe(config: RunConfig, template: Template) -> Probe:
    raw, is_fake = load_or_fake(config)
    threads = config.threads or max(1, int(template.sweep.resources.cpu))  # as the sweep's searcher has it
    device = "cpu" if gpu_count() and not _gpus(template) else config.device
    config = config.model_copy(update={"threads": threads, "device": device, "pretrained": False})
    state = create_train_state(config, load_data(config, prepare_device(device, threads), raw))
    return Probe(f"{config.network}, batch {config.batch_size}", measure_epoch(state), is_fake)


def forecast_lines(found: Forecast) -> Iterator[str]:
    """What was measured and what follows from it, a line each."""
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


def format_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for unit, length in (("days", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
