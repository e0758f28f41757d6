"""Winners at the bounds of ranges: better configs may lie beyond."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from codeq.config import ConfigError, Template
from codeq.config.distributions import Choice, Int, LogUniform, Uniform
from codeq.config.objectives import Objectives, maximized_values
from codeq.results.advice.chance import ALPHA, at_least
from codeq.results.trials import TrialResult

BOUNDARY_SHARE = 0.05
"""The outermost share of a range that counts as its boundary, in the scale of the distribution."""

End = Literal["low", "high"]
Range = Uniform | LogUniform | Int


@dataclass(frozen=True)
class BoundaryHit:
    """An end of a parameter's range that should be widened.

    bound: the value there. trials: the winners near it, of the `winners` that have the parameter. objective: set if
    the only winner near it is the best in this objective, for which the parameter matters; None if more winners are
    near it than chance explains.
    """

    parameter: str
    end: End
    bound: float
    trials: tuple[int, ...]
    winners: int
    objective: str | None = None


def boundary_hits(
    front: Sequence[TrialResult], template: Template, important: Mapping[str, Mapping[str, float]]
) -> list[BoundaryHit]:
    """The ends of ranges at which winners lie, except ends that the config's own limits do not let widen.

    front: the winners. important: by objective, the parameters that matter for it.
    """
    found = []
    objectives = template.sweep.objectives
    for name, searched in _ranges(template).items():
        matters_for = {o: direction for o, direction in objectives.items() if name in important.get(o, {})}
        winners = [trial for trial in front if name in trial.record.parameters]
        found += [hit for hit in _hits_of(name, searched, winners, matters_for) if _can_widen(hit, front, template)]
    return found


def position(value: float, searched: Range) -> float:
    """Where a value lies in a range, 0 its low and 1 its high end, in the scale in which it is drawn."""
    low, high = float(searched.low), float(searched.high)
    if _is_log(searched):
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _ranges(template: Template) -> dict[str, Range]:
    searched = {parameter.name: parameter.distribution for parameter in template.parameters}
    return {name: distribution for name, distribution in searched.items() if not isinstance(distribution, Choice)}


def _hits_of(
    name: str, searched: Range, winners: Sequence[TrialResult], matters_for: Objectives
) -> Iterator[BoundaryHit]:
    best_in = [(_best(winners, {o: direction}), o) for o, direction in matters_for.items() if winners]
    ends: tuple[tuple[End, float], ...] = (("low", searched.low), ("high", searched.high))
    for end, bound in ends:
        there = tuple(trial.record.trial for trial in winners if _is_near(trial.record.parameters[name], searched, end))
        alone = [BoundaryHit(name, end, bound, (number,), len(winners), o) for number, o in best_in if number in there]
        if there and at_least(len(there), len(winners), _by_chance(searched, end)) <= ALPHA:
            yield BoundaryHit(name, end, bound, there, len(winners))
        else:
            yield from alone[:1]


def _is_near(value: float, searched: Range, end: End) -> bool:
    place = position(value, searched)
    return place <= BOUNDARY_SHARE if end == "low" else place >= 1 - BOUNDARY_SHARE


def _by_chance(searched: Range, end: End) -> float:
    """The share of random draws near an end; with few values it is more than BOUNDARY_SHARE."""
    if isinstance(searched, Int) and searched.log:
        low, high = searched.low - 0.5, searched.high + 0.5  # Optuna draws between these and rounds
        reach = (searched.high / searched.low) ** BOUNDARY_SHARE
        inner = math.floor(searched.low * reach) + 0.5 if end == "low" else math.ceil(searched.high / reach) - 0.5
        return math.log(inner / low if end == "low" else high / inner) / math.log(high / low)
    if math.isinf(size := searched.size()):
        return BOUNDARY_SHARE
    return (math.floor(BOUNDARY_SHARE * (size - 1)) + 1) / size


def _best(trials: Sequence[TrialResult], wanted: Objectives) -> int:
    return max(trials, key=lambda trial: maximized_values(trial.row, wanted)).record.trial


def _can_widen(hit: BoundaryHit, front: Sequence[TrialResult], template: Template) -> bool:
    """Whether the first winner's config is valid with a value beyond the bound."""
    winner = next(trial for trial in front if trial.record.trial == hit.trials[0])
    beyond = _beyond(_ranges(template)[hit.parameter], hit.end)
    values = {**winner.record.parameters, hit.parameter: beyond}
    try:
        template.draw(lambda name, distribution: values[name])
    except ConfigError:
        return False
    return True


def _beyond(searched: Range, end: End) -> float:
    sign = 1 if end == "high" else -1
    bound = searched.high if end == "high" else searched.low
    if isinstance(searched, Int):
        return bound + sign * searched.step
    if _is_log(searched):
        return float(bound * (searched.high / searched.low) ** (sign * BOUNDARY_SHARE))
    return float(bound + sign * (searched.high - searched.low) * BOUNDARY_SHARE)


def _is_log(searched: Range) -> bool:
    return isinstance(searched, LogUniform) or (isinstance(searched, Int) and searched.log)
