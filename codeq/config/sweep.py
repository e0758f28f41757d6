"""The sweep section: number of trials, objectives, search, early stopping, resources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from codeq.config.errors import did_you_mean, format_value
from codeq.config.metrics import METRICS, REPORTED, Direction
from codeq.config.types import (
    NonEmptyString,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StrictModel,
    invalid,
)

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: Any) -> float:
    """Seconds of a duration such as `90s`, `30m` or `2h`; raises ValueError otherwise."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhd])", str(text))
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"is {format_value(text)}, must be a number with s, m, h or d, such as 90s or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _duration(text: Any) -> Any:
    try:
        parse_duration(text)
    except ValueError as error:
        raise invalid(str(error)) from None
    return text


_OTHER_NAMES = dict.fromkeys(("acc", "accuracy", "top1", "test_acc", "test_accuracy", "val_top1"), "val_acc")


def did_you_mean_metric(name: str, choices: Iterable[str]) -> str:
    """`; did you mean X?` for the metric that a name of another program means, or an empty string."""
    meant = _OTHER_NAMES.get(name.lower())
    return f"; did you mean {meant}?" if meant else did_you_mean(name, choices)


def _metric(name: str) -> str:
    if name not in REPORTED:
        raise invalid(f"is not reported, must be one of {', '.join(REPORTED)}{did_you_mean_metric(name, REPORTED)}")
    return name


def _by_name(objectives: Any) -> Any:
    """Refuse names without directions, and W&B's form, with what to write."""
    named = objectives.get("name") if isinstance(objectives, dict) else objectives
    names = [name for name in (named if isinstance(named, list) else [named]) if name in REPORTED]
    if names:
        ours = ", ".join(f"{name}: {METRICS[name].direction or 'min'}" for name in names)
        raise invalid(f"is {format_value(objectives)}, must be a mapping of metrics to max or min; write {{{ours}}}")
    return objectives


def parse_bound(text: Any) -> tuple[Literal["<=", ">="], float]:
    """The relation and the number of a constraint such as `>= 90`; raises ValueError otherwise."""
    match = re.fullmatch(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*", str(text))
    try:
        if match is None or not math.isfinite(float(match[2])):
            raise ValueError
        return ("<=" if match[1] == "<=" else ">="), float(match[2])
    except ValueError:
        raise ValueError(f'is {format_value(text)}, must be ">= NUMBER" or "<= NUMBER", in quotes') from None


def _bound(text: Any) -> Any:
    try:
        parse_bound(text)
    except ValueError as error:
        raise invalid(str(error)) from None
    return text


def _can_be_met(constraints: dict[str, str]) -> dict[str, str]:
    for name, text in constraints.items():
        relation, bound = parse_bound(text)
        low, high = METRICS[name].low, METRICS[name].high
        if relation == ">=" and high is not None and bound > high:
            raise invalid(f"{name} {text} cannot be met: {name} is never above {high:g}", loc=name)
        if relation == ">=" and METRICS[name].unit == "percent" and 0 < bound < 1:
            raise invalid(f"{name} {text} is a share, but {name} is in percent; write >= {100 * bound:g}", loc=name)
        if relation == "<=" and low is not None and bound < low:
            raise invalid(f"{name} {text} cannot be met: {name} is never below {low:g}", loc=name)
    return constraints


def _by_metric(value: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a mapping from reported metrics to `value`: editors complete and explain its keys."""
    described = {name: {"description": METRICS[name].description, **value} for name in REPORTED}
    return {"properties": described, "additionalProperties": False}


def _sweep_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}", name):
        allowed = "at most 64 letters, digits, '.', '_' and '-', the first a letter or digit"
        raise invalid(f"is {format_value(name)}, must be {allowed}")
    return name


MetricName = Annotated[str, AfterValidator(_metric)]
Bound = Annotated[str, BeforeValidator(_bound)]
Duration = Annotated[str, BeforeValidator(_duration)]


def _without_secret(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise invalid("holds a user or a key, which would end up in files; give them by environment variables")
    return url


def _writable(storage: str) -> str:
    if scheme := re.match(r"(https?|data|github|memory)://", storage):
        why = "is seen by one process alone" if scheme[1] == "memory" else "is only read"
        where = "a folder or a URL such as s3://bucket/path"
        raise invalid(f"is {format_value(storage)}, but {scheme[0]} {why}; must be {where}")
    return storage


class Search(StrictModel):
    """How the next config is proposed."""

    sampler: Literal["tpe", "nsga2", "gp", "random", "grid"] = Field("tpe", description="Optuna's sampler")
    seed: NonNegativeInt = Field(0, description="of the sampler")
    startup_trials: PositiveInt = Field(10, description="random trials before the sampler learns")
    warm_start: Annotated[NonEmptyString, AfterValidator(_without_secret)] | None = Field(
        None, description="a sweep's folder, such as results/OTHER, from whose trials the sampler learns beforehand"
    )

    @model_validator(mode="after")
    def _check(self) -> Search:
        if self.warm_start and not self.learns:
            reason = f"the {self.sampler} sampler learns from no trial; use tpe, nsga2 or gp, or leave warm_start out"
            raise invalid(reason, loc="warm_start")
        if self.sampler == "nsga2" and self.startup_trials < 2:
            raise invalid("startup_trials is 1, must be 2 or more for nsga2", loc="startup_trials")
        return self

    @property
    def learns(self) -> bool:
        """Whether the sampler learns from other trials."""
        return self.sampler not in ("random", "grid")


class Scheduler(StrictModel):
    """How trials are stopped early."""

    name: Literal["asha", "median", "none"] = Field("asha", description="early-stopping rule")
    grace_epochs: PositiveInt = Field(
        5, description="no trial is stopped before this epoch; accuracy at epoch 1 predicts the final rank poorly"
    )
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        3, description="at epochs grace_epochs * reduction_factor**k asha lets one trial in reduction_factor continue"
    )

    def rungs(self, max_epochs: int) -> tuple[int, ...]:
        """The epochs below max_epochs at which asha compares trials."""
        epochs, epoch = [], self.grace_epochs
        while epoch < max_epochs:
            epochs.append(epoch)
            epoch *= self.reduction_factor
        return tuple(epochs)


def _one_process_a_trial(fuse: Any) -> Any:
    if isinstance(fuse, int) and fuse > 1:
        share = f"gpu: {1 / fuse:.3g} lets {fuse} share a GPU"
        raise invalid(f"is {fuse}, but every trial has a process of its own; {share}")
    return fuse


class Resources(StrictModel):
    """The resources of one trial."""

    cpu: PositiveFloat = Field(1.0, description="CPU cores")
    gpu: NonNegativeFloat | Literal["auto"] = Field(
        "auto", description="GPUs, fractions share one; auto: one if there are any"
    )
    fuse: Annotated[Literal["auto", 1], BeforeValidator(_one_process_a_trial)] = Field(
        "auto", description="auto or 1: every trial has a process of its own; several share a GPU by gpu: 1/N"
    )

    @property
    def threads(self) -> int:
        """The threads of a trial whose config does not set them: one per whole core."""
        return max(1, int(self.cpu))


class Confirm(StrictModel):
    """Which winners are trained again with fresh seeds once the search is over."""

    top: PositiveInt = Field(3, description="winners to train again: the one of best.yaml and the next best")
    seeds: PositiveInt = Field(3, description="fresh seeds, none of which the sweep has used, for each of them")


class SweepConfig(StrictModel):
    """The whole sweep."""

    name: Annotated[str, AfterValidator(_sweep_name)] | None = Field(
        None, description="folder below storage; default: the file's name"
    )
    trials: PositiveInt | None = Field(None, description="configs to try; default: 24, or 1 where nothing is searched")
    time_budget: Duration | None = Field(None, description="the search ends after this long: 90s, 30m, 2h")
    objectives: Annotated[dict[MetricName, Direction], Field(min_length=1), BeforeValidator(_by_name)] = Field(
        {"val_acc": "max", "sparsity": "max"},
        description="reported metrics and their directions",
        json_schema_extra=_by_metric({"enum": list(get_args(Direction))}),
    )
    constraints: Annotated[dict[MetricName, Bound], AfterValidator(_can_be_met)] = Field(
        {},
        description='what a winner must satisfy, such as val_acc: ">= 90"',
        json_schema_extra=_by_metric({"type": "string"}),
    )
    search: Search = Field(Search(), description="how configs are proposed")
    scheduler: Scheduler = Field(Scheduler(), description="how trials are stopped early")
    enqueue: list[Annotated[dict[str, Any], Field(min_length=1)]] = Field(
        [], description="configs to try first, by dotted path"
    )
    resources: Resources = Field(Resources(), description="what one trial takes")
    max_concurrent: PositiveInt | None = Field(None, description="trials at a time; null: as many as fit")
    max_failures: NonNegativeInt = Field(3, description="how often a trial whose process died is started again")
    keep_checkpoints: Literal["front", "finished", "all"] = Field(
        "front",
        description="whose last checkpoint is kept: the front's and the confirmed winners', that of every finished "
        "trial, or that of every trial",
    )
    confirm: Confirm | None = Field(
        None, description="train the best again with fresh seeds, report mean ± std; null: do not"
    )
    storage: Annotated[NonEmptyString, AfterValidator(_without_secret), AfterValidator(_writable)] = Field(
        "results", description="a folder or a URL such as s3://bucket/path"
    )
    study: NonEmptyString | None = Field(
        None, description="Optuna storage URL, which several drivers may share; null: SQLite in the sweep's folder"
    )
