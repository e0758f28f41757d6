"""Measure how fast a search finds the Pareto front by replaying recorded trials, in minutes instead of days.

    python -m benchmarks.search_quality             replay all searches, print the table, store it and the plot
    python -m benchmarks.search_quality --variants  our search with other rules and samplers; hours, stores nothing
    python -m benchmarks.search_quality --record    train the table's trials again (see `record`), minutes

The table contains all epochs of random digits configs. A search proposes parameters; the nearest config that was not
tried yet is used instead, and its rows are read instead of trained. A stopped trial costs the epochs that it ran. The
score of a search is the hypervolume of its trials that trained all their epochs, as a share of the whole table's.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import joblib

from benchmarks.command import temporary_folder
from benchmarks.search_quality.record import record
from benchmarks.search_quality.replay import BUDGET, Curve, replay
from benchmarks.search_quality.searchers import Make, RandomSearch, ours, stock, sweep_template
from benchmarks.search_quality.summary import Summary, markdown, write_json
from benchmarks.search_quality.table import Table, read_table
from codeq.search.study import quiet_optuna

SEEDS = 100
"""With only the first twenty seeds, the median cost of our search to 99.5 % is a third lower."""
OURS, STOCK, RANDOM = "CoDeQ Tune", "stock OptunaSearch, ASHA on val_acc", "random search, no stopping"

SEARCHES: dict[str, Make] = {
    OURS: ours,
    STOCK: lambda table, seed, folder: stock(table, seed),
    RANDOM: lambda table, seed, folder: RandomSearch(table, seed),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.record:
        record()
        return 0
    table = read_table(sweep_template().sweep.objectives, first=options.first)
    if options.variants:
        from benchmarks.search_quality.variants import VARIANTS

        print(markdown(_summary(table, {**VARIANTS, RANDOM: SEARCHES[RANDOM]}, options)), end="")
        return 0
    summary = _summary(table, SEARCHES, options)
    print(markdown(summary), end="")
    print(f"{OURS} is at no budget more than {100 * summary.behind(OURS, STOCK):.2f} points behind {STOCK} (means).")
    if (options.seeds, options.budget, options.first) == (SEEDS, BUDGET, None):
        from benchmarks.search_quality.plot import plot

        write_json(summary, behind={OURS: {STOCK: summary.behind(OURS, STOCK)}})
        plot(summary)
    return 0


def _summary(table: Table, searches: Mapping[str, Make], options: argparse.Namespace) -> Summary:
    runs = list(itertools.product(searches, range(options.seeds)))
    found = joblib.Parallel(n_jobs=-1, verbose=5)(
        joblib.delayed(_replayed)(table, searches[name], seed, options.budget) for name, seed in runs
    )
    curves: dict[str, list[Curve]] = {name: [] for name in searches}
    for (name, _), curve in zip(runs, found, strict=True):
        curves[name].append(curve)
    return Summary(curves, baseline=RANDOM, trials=len(table.trials), budget=options.budget)


def _replayed(table: Table, make: Make, seed: int, budget: int) -> Curve:
    quiet_optuna()  # in a separate process
    with temporary_folder() as folder:
        return replay(table, make(table, seed, Path(folder)), seed, budget=budget)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--record", action="store_true", help="train the table's trials again")
    parser.add_argument("--variants", action="store_true", help="compare rules and samplers")
    parser.add_argument("--first", type=int, metavar="N", help="replay the first N trials of the table; keeps nothing")
    parser.add_argument("--budget", type=int, default=BUDGET, help=f"trial-epochs of a replay; {BUDGET:,} are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"replays of each search; {SEEDS} are kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
