"""The result of a sweep as data: front, ranking, winner, confirmations. Reads no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from codeq.config import Template
from codeq.config.objectives import Objectives, describe_constraints, is_feasible
from codeq.config.selection import describe, selection_objectives
from codeq.config.text import pluralize
from codeq.results.confirmation import Confirmed, confirmed_trials
from codeq.results.front import pareto_front, ranked
from codeq.results.hypervolume import HypervolumeBounds, hypervolume, hypervolume_bounds
from codeq.results.trials import TrialResult

FAILURES = ("diverged", "collapsed", "failed")


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    front: by the first objective, best first. ranking: the front from the winner on; empty where no trial satisfies
    the constraints. selection_objectives: what the winner was selected by. choice: the same in words, with the
    constraints. hypervolume: of the ranking between `hypervolume_bounds`, 0..1. selected_on: what val_acc was measured
    on.
    """

    trials: Sequence[TrialResult]
    front: Sequence[TrialResult]
    ranking: Sequence[TrialResult]
    selection_objectives: Objectives
    choice: str
    hypervolume: float
    hypervolume_bounds: HypervolumeBounds
    confirmed: Sequence[Confirmed]
    selected_on: str

    @property
    def winner(self) -> TrialResult | None:
        """The trial of best.yaml."""
        return self.ranking[0] if self.ranking else None

    @property
    def all_failed(self) -> bool:
        """Whether every trial diverged, collapsed or crashed, and there were some."""
        return bool(self.trials) and all(trial.record.status in FAILURES for trial in self.trials)

    @property
    def trial_epochs(self) -> int:
        """The epochs that all trials have trained together."""
        return sum(int(trial.row.get("epoch", 0)) for trial in self.trials)

    def describe_trials(self) -> str:
        """`24 trials: 9 finished, 15 stopped`."""
        counts = Counter(trial.record.status for trial in self.trials)
        ended = ", ".join(f"{number:,} {status}" for status, number in counts.items())
        return pluralize(len(self.trials), "trial") + (f": {ended}" if ended else "")

    @property
    def ended_runs(self) -> set[tuple[int, int]]:
        """The (trial, seed) of the runs with fresh seeds that need no more training."""
        runs = (run.record for confirmed in self.confirmed for run in confirmed.runs)
        return {(record.trial, record.seed) for record in runs if record.status != "running"}

    @property
    def files(self) -> list[str]:
        """The files that the report has written, for messages."""
        best = ["best.yaml (marked *)"] if self.winner else []
        return ["trials.csv", "pareto.csv", *(["confirm.csv"] if self.confirmed else []), *best]

    def confirmation_of(self, trial: TrialResult) -> Confirmed | None:
        """The trial's runs with fresh seeds, if there are any."""
        return next((found for found in self.confirmed if found.trial == trial.record.trial), None)


def analyze(
    trials: Sequence[TrialResult], runs: Sequence[TrialResult], template: Template, pick: str | None = None
) -> SweepResult:
    """The result of a sweep's `trials` and their `runs` with fresh seeds.

    pick: see `codeq.config.selection.selection_objectives`. The front is that of the trials that satisfy the
    constraints. If none does, it is that of all trials, which shows how far they are from it; its hypervolume is 0
    and there is no winner.
    """
    sweep = template.sweep
    finished = [trial for trial in trials if trial.finished]
    satisfying = [trial for trial in finished if is_feasible(trial.row, sweep.constraints)]
    front = pareto_front(satisfying or finished, sweep.objectives)
    goal = selection_objectives(sweep, pick)
    ranking = ranked(front, goal, sweep.objectives) if satisfying else []
    measured_in = hypervolume_bounds([trial.row for trial in finished], sweep.objectives)
    on_test = any(config.val_fraction == 0 for config in template.boundary_configs)
    return SweepResult(
        trials=trials,
        front=front,
        ranking=ranking,
        selection_objectives=goal,
        choice=describe(goal) + (f" with {describe_constraints(sweep.constraints)}" if sweep.constraints else ""),
        hypervolume=hypervolume([trial.row for trial in ranking], measured_in),
        hypervolume_bounds=measured_in,
        confirmed=confirmed_trials(runs, ranking),
        selected_on="the test set (val_fraction is 0)" if on_test else "the validation split",
    )
