"""More trials of a small sweep, digits MLP of 2 epochs without early stopping: what a trial costs, and the driver.

A ratio is the figure at 24 trials over the figure at more: cost per trial must fall, memory and time per report of the
driver stay flat.
"""

from __future__ import annotations

from benchmarks.command import CommandRun
from benchmarks.options import Options
from benchmarks.row import Row
from benchmarks.rows.sweep import run_ours

SIZES = (24, 240, 1000)
QUICK_SIZES = (4, 8)
SMALL = ("epochs=2", "sweep.scheduler.name=none")
FLAT = 0.8
"""The least ratio that counts as flat: single runs of a command spread by as much."""


def scaling(options: Options) -> list[Row]:
    """Three figures for each size."""
    sizes = QUICK_SIZES if options.quick else SIZES
    rounds = options.rounds(3)
    runs = {size: [_run(size, options) for _ in range(rounds if size < SIZES[-1] else 1)] for size in sizes}
    return [row for size in sizes for row in _rows(size, runs[size], sizes[0], runs[sizes[0]])]


def _run(trials: int, options: Options) -> CommandRun:
    return run_ours(trials, [*SMALL, *options.overrides], follow=False)


def _rows(size: int, runs: list[CommandRun], base: int, at_base: list[CommandRun]) -> list[Row]:
    figures = {
        "whole command per trial": ("ms", [1000 * run.seconds / size for run in runs],
                                    [1000 * run.seconds / base for run in at_base], 1.0),
        "driver's memory at its highest": ("MB", [run.driver_rss_mb for run in runs],
                                           [run.driver_rss_mb for run in at_base], FLAT),
        "driver's processor time per report": ("ms", [1000 * run.driver_cpu_s / run.reports for run in runs],
                                               [1000 * run.driver_cpu_s / run.reports for run in at_base], FLAT),
    }  # fmt: skip
    return [
        Row(f"{size:,} trials, {what}", unit, f"itself at {base} trials", ours, theirs if size > base else [],
            lower_is_better=True, target=target if size > base else None)
        for what, (unit, ours, theirs, target) in figures.items()
    ]  # fmt: skip
