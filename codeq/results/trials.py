"""All trials of a sweep, read from their folders, and the CSV files made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from upath import UPath

from codeq.config.sweep import METRICS
from codeq.train.files import write_atomically
from codeq.train.trial_folder import TrialFolder, TrialRecord, trial_folders


@dataclass(frozen=True)
class TrialResult:
    """A trial's record and the last row it reported (empty if it never completed an epoch)."""

    record: TrialRecord
    folder: TrialFolder
    row: dict[str, Any]
    test_acc: float | None = field(default=None)

    @property
    def finished(self) -> bool:
        """Whether it trained all its epochs and is healthy: the only kind that can win."""
        return self.record.status == "finished" and bool(self.row)

    def as_row(self) -> dict[str, Any]:
        """The trial's row of trials.csv."""
        status, reason = self.record.status, self.record.reason
        if status == "running":
            status, reason = "stopped", reason or "the sweep was interrupted; --resume goes on"
        return {
            "trial": self.record.trial,
            "status": status,
            "reason": reason,
            "epoch": self.row.get("epoch", 0),
            **{name: self.row.get(name) for name in METRICS},
            **({} if self.test_acc is None else {"test_acc": self.test_acc}),
            **self.record.parameters,
            "seed": self.record.seed,
            "run_name": self.record.run_name,
            "duration_s": self.record.duration_s,
        }


def load_trials(folder: UPath) -> list[TrialResult]:
    """Every trial of the sweep in `folder`, by number."""
    results = []
    for trial in trial_folders(folder):
        record, rows = trial.read_record(), trial.rows()
        if record is not None:
            results.append(TrialResult(record, trial, rows[-1] if rows else {}))
    return results


def write_csv(path: UPath, trials: Sequence[TrialResult], parameters: Iterable[str]) -> None:
    """One row per trial; `parameters` are the columns that hold drawn values, empty where a trial drew none."""
    with_test = ["test_acc"] if any(trial.test_acc is not None for trial in trials) else []
    drawn = dict.fromkeys([*parameters, *(name for trial in trials for name in trial.record.parameters)])
    columns = ["trial", "status", "reason", "epoch", *METRICS, *with_test, *drawn, "seed", "run_name", "duration_s"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(trial.as_row() for trial in trials)
    write_atomically(path, text.getvalue())
