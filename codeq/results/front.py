"""The Pareto front of trials that trained all their epochs, and its order from the knee outwards."""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np

from codeq.config.objectives import Objectives, maximized_values
from codeq.results.trials import TrialResult


def pareto_front(trials: Sequence[TrialResult], objectives: Objectives) -> list[TrialResult]:
    """The finished trials that no other finished trial equals or beats in every objective and beats in one.

    Trials that are equal in every objective are all on it. Ordered by the first objective, best first.
    """
    ended = [trial for trial in trials if trial.finished]
    finished = [trial for trial in ended if all(map(math.isfinite, maximized_values(trial.row, objectives)))]
    if not finished:
        return []
    points = np.array([maximized_values(trial.row, objectives) for trial in finished])
    on_front = moocore.is_nondominated(points, maximise=True, keep_weakly=True)
    front = [trial for trial, is_on in zip(finished, on_front, strict=True) if is_on]
    return sorted(front, key=lambda trial: maximized_values(trial.row, objectives), reverse=True)


def ranked(front: Sequence[TrialResult], wanted: Objectives, objectives: Objectives) -> list[TrialResult]:
    """The front by distance to the ideal point in `wanted`, nearest first; every metric scaled to 0..1 over the front.

    With one metric this is the order in that metric. With several the first is the knee: the compromise solution of
    Zeleny (1973), which is the trial in the bulge of a convex front and a balanced trial otherwise. The trial farthest
    from the chord between the front's ends (Das 1999) would be an end of a front without a bulge. Equals in
    `wanted` are ordered by their distance in all `objectives`, then by number.
    """
    to_wanted, to_ideal = _distances(front, wanted), _distances(front, objectives)
    order = sorted(range(len(front)), key=lambda i: (to_wanted[i], to_ideal[i], front[i].record.trial))
    return [front[i] for i in order]


def _distances(front: Sequence[TrialResult], objectives: Objectives) -> list[float]:
    """Each trial's Euclidean distance to the ideal point, in units of the front's range in each objective."""
    points = [maximized_values(trial.row, objectives) for trial in front]
    best = [max(column) for column in zip(*points, strict=True)]
    span = [(max(column) - min(column)) or 1.0 for column in zip(*points, strict=True)]
    return [math.hypot(*((b - x) / s for b, x, s in zip(best, point, span, strict=True))) for point in points]
