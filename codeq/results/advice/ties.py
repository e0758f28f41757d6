"""Winners whose accuracies differ by less than the sampling noise of the validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codeq.config.objectives import Objectives, maximized_values
from codeq.results.trials import TrialResult

ACCURACY = "val_acc"


def noise(accuracy: float, images: int) -> float:
    """The standard deviation of an accuracy measured on so many images, both in percent: sqrt(p (1 - p) / n).

    At least the share of one image: near 0 and 100 % the formula would be smaller.
    """
    share = accuracy / 100.0
    return 100.0 * max(math.sqrt(share * (1.0 - share) / images), 1.0 / images)


@dataclass(frozen=True)
class Tie:
    """Winners within the noise of the most accurate of them.

    trials: that one first. gap, noise: percent of accuracy. images: that the accuracies count. best: the trial of them
    that is the best in each of the other objectives.
    """

    trials: tuple[int, ...]
    gap: float
    noise: float
    images: int
    best: dict[str, int]


@dataclass(frozen=True)
class Accuracies:
    """The precision of the winners' accuracies. noise: of the most accurate, in percent; images: that they count."""

    winners: int
    images: int
    noise: float
    ties: tuple[Tie, ...]


def accuracies(front: Sequence[TrialResult], objectives: Objectives) -> Accuracies | None:
    """The ties among several winners; None if accuracy is no objective or the number of images is not recorded."""
    images = min((int(trial.row.get("val_images", 0)) for trial in front), default=0)
    if ACCURACY not in objectives or len(front) < 2 or not images:
        return None
    ordered = sorted(front, key=lambda trial: float(trial.row[ACCURACY]), reverse=True)
    groups: list[list[TrialResult]] = []
    for trial in ordered:
        if groups and _gap(groups[-1][0], trial) <= noise(groups[-1][0].row[ACCURACY], images):
            groups[-1].append(trial)
        else:
            groups.append([trial])
    ties = tuple(_tie(group, images, objectives) for group in groups if len(group) > 1)
    return Accuracies(len(front), images, noise(ordered[0].row[ACCURACY], images), ties)


def _gap(better: TrialResult, worse: TrialResult) -> float:
    return float(better.row[ACCURACY]) - float(worse.row[ACCURACY])


def _tie(group: Sequence[TrialResult], images: int, objectives: Objectives) -> Tie:
    others = {name: direction for name, direction in objectives.items() if name != ACCURACY}
    best = {name: max(group, key=lambda trial: maximized_values(trial.row, {name: others[name]})) for name in others}  # noqa: B023
    return Tie(
        trials=tuple(trial.record.trial for trial in group),
        gap=_gap(group[0], group[-1]),
        noise=noise(group[0].row[ACCURACY], images),
        images=images,
        best={name: trial.record.trial for name, trial in best.items()},
    )
