"""Ends of ranges that hold only trials that diverged or collapsed, and no healthy ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from codeq.config import Template
from codeq.config.distributions import Choice
from codeq.results.advice.chance import ALPHA, tail_probability
from codeq.results.advice.observations import healthy
from codeq.results.trials import TrialResult

Status = Literal["collapsed", "diverged"]


@dataclass(frozen=True)
class FailureRegion:
    """An end of a range where all trials failed alike. bound: the outermost value of a healthy trial there."""

    status: Status
    parameter: str
    side: Literal["above", "below"]
    bound: float
    trials: tuple[int, ...]


def failure_regions(trials: Sequence[TrialResult], template: Template) -> list[FailureRegion]:
    """The regions that chance does not explain: k of n trials are the last k in a random order once in C(n, k)."""
    names = [p.name for p in template.parameters if not isinstance(p.distribution, Choice)]
    statuses: tuple[Status, ...] = ("collapsed", "diverged")
    return [region for name in names for status in statuses for region in _regions(trials, name, status)]


def _regions(trials: Sequence[TrialResult], name: str, status: Status) -> Iterator[FailureRegion]:
    drawn = [trial for trial in trials if name in trial.record.parameters]
    wrong = [trial for trial in drawn if trial.record.status == status]
    values = [trial.record.parameters[name] for trial in wrong]
    good = [trial.record.parameters[name] for trial in healthy(drawn)]
    if not wrong or not good or tail_probability(len(wrong), len(wrong) + len(good)) > ALPHA:
        return
    numbers = tuple(trial.record.trial for trial in wrong)
    if min(values) > max(good):
        yield FailureRegion(status, name, "above", max(good), numbers)
    elif max(values) < min(good):
        yield FailureRegion(status, name, "below", min(good), numbers)
