"""The trials of a sweep at one common epoch, so that early-stopped trials can be compared too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeq.config.objectives import Row
from codeq.results.trials import TrialResult

MIN_TRIALS = 16
"""With fewer trials the test has little power: even a single decisive parameter is found in half of the cases."""
NEARLY_ALL = 0.9
"""The share of trials that must have reached the epoch: the few that went further were selected by their results."""


@dataclass(frozen=True)
class Observations:
    """Drawn values by dotted path, and the rows of the same trials after `epoch`."""

    epoch: int
    parameters: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]


def observations(trials: Sequence[TrialResult]) -> Observations | None:
    """The healthy trials at the last epoch that nearly all of them reached; None where there are not enough."""
    candidates = healthy(trials)
    if len(candidates) < MIN_TRIALS:
        return None
    reached = sorted((int(trial.row["epoch"]) for trial in candidates), reverse=True)
    epoch = reached[math.ceil(NEARLY_ALL * len(reached)) - 1]
    there = [trial for trial in candidates if trial.row["epoch"] >= epoch]
    rows = [next(row for row in trial.folder.rows() if row["epoch"] == epoch) for trial in there]
    return Observations(epoch, [trial.record.parameters for trial in there], rows)


def healthy(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials that finished or were stopped early."""
    return [trial for trial in trials if trial.record.status in ("finished", "stopped") and trial.row]
