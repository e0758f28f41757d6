"""A sweep without a healthy trial: what its trials have in common and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codeq.config import Template
from codeq.config.distributions import Distribution
from codeq.config.tree import walk
from codeq.config.unread import unread_keys, why_unread
from codeq.results.sweep_result import FAILURES
from codeq.results.trials import TrialResult

MAX_SUSPECTS = 4
"""More are not named: the likeliest come first."""
PRUNED = 0.5
"""A collapsed trial with at least this sparsity has been pruned too far; with less it has not learned."""

_LR, _DECAY, _LAMBDA = "lr", "weight_decay", "lambda"


@dataclass(frozen=True)
class Suspect:
    """A strength that all trials have, and that too high a value of makes them fail.

    low, high: the lowest and the highest value of the trials. searched: where it was drawn from; None if it is fixed.
    can_be_too_low: whether too low a value is as likely, as for the learning rates of networks that have not learned.
    """

    parameter: str
    low: float
    high: float
    searched: Distribution | None
    can_be_too_low: bool


@dataclass(frozen=True)
class TotalFailure:
    """The end of a sweep all of whose trials failed.

    statuses: the number of trials by status. reason: the most frequent one. example: a trial that has it. suspects: the
    likeliest first; none if every trial raised an exception.
    """

    statuses: Mapping[str, int]
    reason: str
    example: int
    suspects: Sequence[Suspect]


def total_failure(trials: Sequence[TrialResult], template: Template) -> TotalFailure | None:
    """What the trials of a sweep share if all of them diverged, collapsed or crashed; None otherwise."""
    statuses = Counter(str(trial.record.status) for trial in trials)
    if not trials or not statuses.keys() <= {*FAILURES}:
        return None
    ((reason, _),) = Counter(trial.record.reason for trial in trials).most_common(1)
    example = next(trial.record.trial for trial in trials if trial.record.reason == reason)
    return TotalFailure(statuses, reason, example, _suspects(trials, template))


def _suspects(trials: Sequence[TrialResult], template: Template) -> list[Suspect]:
    wrong = [trial for trial in trials if trial.record.status != "failed"]
    strengths = _searched(wrong, template) | _fixed(template) if wrong else {}
    kinds = _likely_kinds(wrong)
    unlearned = not any(trial.record.status == "diverged" or _is_pruned(trial) for trial in wrong)
    found = [
        Suspect(name, min(values), max(values), searched, can_be_too_low=unlearned and kind == _LR)
        for kind in kinds
        for name, (values, searched) in strengths.items()
        if _kind(name) == kind and min(values) > 0
    ]
    return found[:MAX_SUSPECTS]


def _likely_kinds(wrong: Sequence[TrialResult]) -> list[str]:
    """The kinds of strengths that explain how these trials failed, the likeliest first."""
    kinds: list[str] = []
    if any(trial.record.status == "diverged" for trial in wrong):
        kinds += [_LR, _LAMBDA]
    collapsed = [trial for trial in wrong if trial.record.status == "collapsed"]
    if any(map(_is_pruned, collapsed)):
        kinds += [_DECAY, _LAMBDA, _LR]
    if not all(map(_is_pruned, collapsed)):
        kinds += [_LR, _LAMBDA]
    return list(dict.fromkeys(kinds))


def _is_pruned(trial: TrialResult) -> bool:
    return bool(trial.row) and float(trial.row["sparsity"]) >= PRUNED


def _searched(
    trials: Sequence[TrialResult], template: Template
) -> dict[str, tuple[list[float], Distribution | None]]:
    """The numbers that every trial drew, by parameter."""
    found: dict[str, tuple[list[float], Distribution | None]] = {}
    for parameter in template.parameters:
        values = [trial.record.parameters.get(parameter.name) for trial in trials]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) == len(trials):
            found[parameter.name] = numbers, parameter.distribution
    return found


def _fixed(template: Template) -> dict[str, tuple[list[float], Distribution | None]]:
    """The numbers that the template gives every trial and some config reads, by dotted path, without the arguments of
    parts."""
    unread = [unread_keys(config) for config in template.boundary_configs]
    values = ((name, value) for path, name, value in walk(template.tree) if not {"choices", "kwargs"} & {*path})
    return {
        name: ([float(value)], None)
        for name, value in values
        if isinstance(value, int | float) and not all(why_unread(name, keys) for keys in unread)
    }


def _kind(name: str) -> str:
    step = name.rpartition(".")[2]
    return _LAMBDA if step.startswith(_LAMBDA) else step
