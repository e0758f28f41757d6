"""Train the trials of the table: random configs of `sweeps/dz_wd.yaml`, all their epochs, nobody stops them."""

from __future__ import annotations

import sys
from pathlib import Path

from upath import UPath

from benchmarks.command import run_command, temporary_folder
from benchmarks.search_quality.table import METRICS, RECORDED, RecordedTrial, write_table
from codeq.results.trials import load_trials

TEMPLATE = "sweeps/dz_wd.yaml"
TRIALS, EPOCHS = 400, 30
OVERRIDES = (f"epochs={EPOCHS}", "sweep.enqueue=[]", "sweep.search.sampler=random", "sweep.scheduler.name=none")


def record(path: Path = RECORDED, trials: int = TRIALS) -> None:
    """Run the sweep and keep the rows of its trials; minutes."""
    with temporary_folder() as folder:
        overrides = [part for override in OVERRIDES for part in ("--set", override)]
        command = ["tune_main.py", TEMPLATE, "--name", "table", "--trials", str(trials), "--storage", folder]
        run_command([*command, *overrides], Path(folder))
        write_table(recorded_trials(Path(folder) / "table"), path)
    print(f"{path}: {trials} trials", file=sys.stderr)


def recorded_trials(sweep_folder: Path) -> list[RecordedTrial]:
    """The trials of a sweep that reported at all."""
    found = []
    for result in load_trials(UPath(sweep_folder)):
        rows = [
            {"epoch": row["epoch"], **{name: round(row[name], 6) for name in METRICS}, "status": row["status"]}
            for row in result.folder.rows()
        ]
        if rows:
            found.append(RecordedTrial(result.record.parameters, rows))
    return found
