"""Trains the trials of the table: random configs of digits.yaml, without early stopping."""

from __future__ import annotations

import sys
from pathlib import Path

from upath import UPath

from benchmarks.command import run_command, temporary_folder
from benchmarks.options import ROOT
from benchmarks.search_quality.table import METRICS, RECORDED, RecordedTrial, write_table
from codeq.results.trials import load_trials

TEMPLATE = ROOT / "benchmarks" / "search_quality" / "digits.yaml"
OVERRIDES = ("sweep.search.sampler=random", "sweep.scheduler.name=none")


def record(path: Path = RECORDED) -> None:
    """Run the sweep and store the rows of its trials; takes minutes."""
    with temporary_folder() as folder:
        overrides = [part for override in OVERRIDES for part in ("--set", override)]
        run_command(["tune_main.py", str(TEMPLATE), "--storage", folder, *overrides], Path(folder))
        trials = recorded_trials(Path(folder) / "digits")
        write_table(trials, path)
    print(f"{path}: {len(trials)} trials", file=sys.stderr)


def recorded_trials(sweep_folder: Path) -> list[RecordedTrial]:
    """Return the trials of a sweep that reported at least once."""
    found = []
    for result in load_trials(UPath(sweep_folder)):
        rows = [
            {"epoch": row["epoch"], **{name: round(row[name], 6) for name in METRICS}, "status": row["status"]}
            for row in result.folder.rows()
        ]
        if rows:
            found.append(RecordedTrial(result.record.parameters, rows))
    return found
