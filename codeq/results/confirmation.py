"""Winners trained again with fresh seeds: which runs it takes, and their scores as mean ± standard deviation."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from upath import UPath

from codeq.config.metrics import REPORTED, SCORES
from codeq.config.sweep import Confirm
from codeq.results.trials import TrialResult, write_rows


@dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation; std: None for a single value."""

    mean: float
    std: float | None

    def __format__(self, spec: str) -> str:
        """`mean ± std`, both in the format of one number."""
        return f"{self.mean:{spec}}" + ("" if self.std is None else f" ± {self.std:{spec}}")


@dataclass(frozen=True)
class Confirmed:
    """A trial of the sweep by its number, and its runs with fresh seeds, at least one."""

    trial: int
    runs: Sequence[TrialResult]

    @property
    def finished(self) -> list[TrialResult]:
        """The runs that trained all epochs and are healthy: the only ones that have scores."""
        return [run for run in self.runs if run.finished]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the finished runs."""
        return [run.record.seed for run in self.finished]

    def mean_std(self, score: str) -> MeanStd | None:
        """Mean ± standard deviation over the finished runs; None where no run has the score."""
        values = [float(value) for run in self.finished if (value := run.as_row().get(score)) is not None]
        if not values:
            return None
        return MeanStd(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def planned_runs(
    trials: Sequence[TrialResult], ranking: Sequence[TrialResult], confirm: Confirm
) -> list[tuple[int, int]]:
    """The number and the seed of every run that `confirm` asks for, the winner's first.

    ranking: the candidates, best first. Every trial gets the same seeds, the lowest that no trial of the sweep had:
    selection favours trials with a lucky seed.
    """
    used = {trial.record.seed for trial in trials}
    seeds = list(itertools.islice((seed for seed in itertools.count() if seed not in used), confirm.seeds))
    return [(trial.record.trial, seed) for trial in ranking[: confirm.top] for seed in seeds]


def confirmed_trials(runs: Sequence[TrialResult], ranking: Sequence[TrialResult]) -> list[Confirmed]:
    """The runs by trial: those of `ranking` in its order, then trials that have left it since."""
    runs_of: dict[int, list[TrialResult]] = {trial.record.trial: [] for trial in ranking}
    for run in sorted(runs, key=lambda run: (run.record.trial, run.record.seed)):
        runs_of.setdefault(run.record.trial, []).append(run)
    return [Confirmed(trial, runs) for trial, runs in runs_of.items() if runs]


def write_confirmation(folder: UPath, confirmed: Sequence[Confirmed]) -> None:
    """Write confirm.csv, a row per trial, and confirm_runs.csv, a row per run, if there are any."""
    if not confirmed:
        return
    averages = [f"{score}_{part}" for score in SCORES for part in ("mean", "std")]
    write_rows(folder / "confirm.csv", ["trial", "runs", "finished", "seeds", *averages], map(_row, confirmed))
    columns = ["trial", "seed", "status", "reason", "epoch", *REPORTED, "test_acc", "run_name", "duration_s"]
    runs = [run.as_row() for trial in confirmed for run in trial.runs]
    write_rows(folder / "confirm_runs.csv", columns, runs)


def _row(confirmed: Confirmed) -> dict[str, object]:
    row: dict[str, object] = {
        "trial": confirmed.trial,
        "runs": len(confirmed.runs),
        "finished": len(confirmed.finished),
        "seeds": " ".join(map(str, confirmed.seeds)),
    }
    for score in SCORES:
        if (mean_std := confirmed.mean_std(score)) is not None:
            row |= {f"{score}_mean": mean_std.mean, f"{score}_std": mean_std.std}
    return row
