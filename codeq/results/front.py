"""The Pareto front of trials that trained all their epochs, and its knee."""

from __future__ import annotations

import math
from collections.abc import Sequence

from codeq.config.objectives import Objectives, gains
from codeq.results.trials import TrialResult


def pareto_front(trials: Sequence[TrialResult], objectives: Objectives) -> list[TrialResult]:
    """The finished trials that no other finished trial equals or beats in every objective and beats in one.

    Ordered by the first objective, best first.
    """
    finished = [trial for trial in trials if trial.finished and all(map(math.isfinite, gains(trial.row, objectives)))]
    points = [gains(trial.row, objectives) for trial in finished]
    front = [t for t, p in zip(finished, points, strict=True) if not any(_dominates(other, p) for other in points)]
    return sorted(front, key=lambda trial: gains(trial.row, objectives), reverse=True)


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def knee(front: Sequence[TrialResult], objectives: Objectives) -> TrialResult:
    """The trial nearest to the front's ideal point, every objective scaled to 0..1 over the front.

    With one objective it is the best trial. Raises ValueError if the front is empty.
    """
    points = [gains(trial.row, objectives) for trial in front]
    best = [max(column) for column in zip(*points, strict=True)]
    span = [(max(column) - min(column)) or 1.0 for column in zip(*points, strict=True)]

    def distance(trial: TrialResult) -> float:
        return math.hypot(*((b - x) / s for b, x, s in zip(best, gains(trial.row, objectives), span, strict=True)))

    return min(front, key=distance)
