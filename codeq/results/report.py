"""From the folders of a sweep's trials to its tables and its winner, safest things first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from upath import UPath

from codeq.config import Template
from codeq.config.objectives import is_feasible
from codeq.results.front import knee, pareto_front
from codeq.results.trials import TrialResult, load_trials, write_csv
from codeq.results.winners import TestAccuracy, with_test_accuracy, write_best

log = logging.getLogger(__name__)

FAILURES = ("diverged", "collapsed", "failed")


@dataclass(frozen=True)
class Report:
    """What a sweep found. winner: None where no trial of the front satisfies the constraints."""

    trials: Sequence[TrialResult]
    front: Sequence[TrialResult]
    winner: TrialResult | None

    @property
    def all_failed(self) -> bool:
        """Whether every trial diverged, collapsed or crashed."""
        return all(trial.record.status in FAILURES for trial in self.trials)


def write_report(folder: UPath, template: Template, measure_test: TestAccuracy | None) -> Report:
    """Write trials.csv, pareto.csv and best.yaml into the sweep's `folder`.

    measure_test: reads the test set for the front, which is done once, at the end; None: not yet. The front is that of
    the trials that satisfy the constraints, or of all where none does. Raises StateDamaged for folders that cannot be
    read.
    """
    trials = load_trials(folder)
    names = [parameter.name for parameter in template.parameters]
    write_csv(folder / "trials.csv", trials, names)
    sweep = template.sweep
    satisfying = [trial for trial in trials if trial.finished and is_feasible(trial.row, sweep.constraints)]
    front = pareto_front(satisfying or trials, sweep.objectives)
    winner = knee(front, sweep.objectives) if satisfying else None
    _write_winners(folder, front, winner, template, names)
    if measure_test and front:
        front = with_test_accuracy(front, measure_test)
        by_number = {trial.record.trial: trial for trial in front}
        winner = by_number[winner.record.trial] if winner else None
        _write_winners(folder, front, winner, template, names)
    return Report(trials, front, winner)


def _write_winners(
    folder: UPath, front: Sequence[TrialResult], winner: TrialResult | None, template: Template, names: list[str]
) -> None:
    write_csv(folder / "pareto.csv", front, names)
    if winner:
        write_best(folder / "best.yaml", winner, template)
    else:
        (folder / "best.yaml").unlink(missing_ok=True)
