"""Cost per trial and of the driver as a sweep grows: digits MLP, 2 epochs, no early stopping.

The cost per trial must fall; the driver's memory and its time per report must stay constant. The time per report is the
additional time per additional report, relative to the next smaller sweep, which excludes the driver's start.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from optuna.trial import TrialState

from benchmarks.command import CommandRun
from benchmarks.options import ROOT, Options
from benchmarks.row import Row
from benchmarks.rows.sweep import run_ours
from codeq.config import Template
from codeq.search.outcome import StudyReport
from codeq.search.sampler_study import SamplerStudy

SIZES = (24, 240, 1000)
QUICK_SIZES = (4, 8, 12)
SMALL = ("epochs=2", "sweep.scheduler.name=none")
SWEEP = ROOT / "sweeps" / "dz_wd.yaml"
LR, DECAY = "optimizer.param_groups.base.lr", "optimizer.param_groups.dz.weight_decay"
DRAWS = 10
FLAT = 0.8
"""The lowest ratio that counts as constant: single runs of a command vary by this much."""

Runs = dict[int, list[CommandRun]]


def scaling(options: Options) -> list[Row]:
    """Measure time and memory for each size, and time per report for each step between sizes."""
    *smaller, largest = QUICK_SIZES if options.quick else SIZES
    rounds = {**dict.fromkeys(smaller, options.rounds(3)), largest: 1}
    runs = {size: [_run(size, options) for _ in range(count)] for size, count in rounds.items()}
    per_report = _per_report(runs)
    per_report[-1].profile.extend(_draws_profile([smaller[-1], largest]) if per_report[-1].missed else [])
    return [*_per_trial(runs), *_memory(runs), *per_report]


def _run(trials: int, options: Options) -> CommandRun:
    return run_ours(trials, [*SMALL, *options.overrides], follow=False)


def _per_trial(runs: Runs) -> list[Row]:
    costs = {size: [1000 * run.seconds / size for run in each] for size, each in runs.items()}
    return _rows("whole command per trial", "ms", {f"{size:,} trials": cost for size, cost in costs.items()}, 1.0)


def _memory(runs: Runs) -> list[Row]:
    highest = {f"{size:,} trials": [run.driver_rss_mb for run in each] for size, each in runs.items()}
    return _rows("driver's memory at its highest", "MB", highest, FLAT)


def _per_report(runs: Runs) -> list[Row]:
    steps = {
        f"{small:,} to {large:,} trials": [
            1000 * (more.driver_cpu_s - less.driver_cpu_s) / (more.reports - less.reports)
            for less, more in zip(runs[small], runs[large], strict=False)
        ]
        for small, large in pairwise(runs)
    }
    return _rows("driver's processor time for each further report", "ms", steps, FLAT)


def _draws_profile(sizes: Sequence[int]) -> list[str]:
    """Return the mean time of the sampler's draw per trial, for a sweep of each size."""
    template = Template.load(SWEEP)
    lines = []
    for size in sizes:
        study, known = SamplerStudy(template), size // 2
        for _ in range(known):
            trial = study.propose().trial
            study.tell(trial, StudyReport(TrialState.COMPLETE, [100 * trial.params[LR], trial.params[DECAY]]))
        began = time.process_time()
        for _ in range(DRAWS):
            study.tell(study.propose().trial, StudyReport(TrialState.FAIL))
        took_ms = 1000 * (time.process_time() - began) / DRAWS
        lines.append(f"the sampler's draw: {took_ms:.3g} ms a trial, two reports, among {known:,} trials")
    return lines


def _rows(what: str, unit: str, figures: dict[str, list[float]], target: float) -> list[Row]:
    """Compare each figure with the one before it; the first is alone."""
    first, base = next(iter(figures.items()))
    return [
        Row(f"{first}, {what}", unit, "itself", base, lower_is_better=True),
        *(
            Row(f"{more}, {what}", unit, f"itself, {less}", figures[more], figures[less], lower_is_better=True,
                target=target)
            for less, more in pairwise(figures)
        ),
    ]  # fmt: skip
