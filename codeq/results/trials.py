"""All trials of a sweep, read from their folders, and the CSV files made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upath import UPath

from codeq.config.metrics import REPORTED
from codeq.config.text import yaml_text
from codeq.storage.atomic_files import write_atomically
from codeq.storage.trial_folder import TrialFolder, TrialRecord, confirm_folders, from_each, trial_folders


@dataclass(frozen=True)
class TrialResult:
    """A trial's record and the last row it reported (empty if it never completed an epoch)."""

    record: TrialRecord
    folder: TrialFolder
    row: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it trained all its epochs and is healthy: only such trials can win."""
        return self.record.status == "finished" and bool(self.row)

    @property
    def test_acc(self) -> float | None:
        """Test accuracy in percent, None where it was not measured."""
        return self.record.test_acc

    def as_row(self) -> dict[str, Any]:
        """The trial's row of the tables; a drawn value named like another column, as `seed`, has no second one."""
        status, reason = self.record.status, self.record.reason
        if status == "running":
            status, reason = "stopped", reason or "the sweep was interrupted; --resume goes on"
        return {
            **{name: yaml_text(value) for name, value in self.record.parameters.items()},
            "trial": self.record.trial,
            "status": status,
            "reason": reason,
            "epoch": self.row.get("epoch", 0),
            **{name: self.row.get(name) for name in REPORTED},
            "test_acc": self.record.test_acc,
            "seed": self.record.seed,
            "run_name": self.record.run_name,
            "duration_s": self.record.duration_s,
        }


def load_trials(folder: UPath) -> list[TrialResult]:
    """Every trial of the sweep in `folder`, by number."""
    return _load(trial_folders(folder))


def load_confirm_runs(folder: UPath) -> list[TrialResult]:
    """Every trial of the sweep in `folder` that was trained again, once for each fresh seed."""
    return _load(confirm_folders(folder))


def _load(folders: Sequence[TrialFolder]) -> list[TrialResult]:
    return [found for found in from_each(folders, _result) if found is not None]


def _result(folder: TrialFolder) -> TrialResult | None:
    record, rows = folder.read_record(), folder.rows()  # which warn of damage
    return None if record is None else TrialResult(record, folder, record.last_row or (rows[-1] if rows else {}))


def write_csv(
    path: UPath, trials: Sequence[TrialResult], parameters: Iterable[str], with_test: bool = False
) -> None:
    """One row per trial; `parameters` are the columns that hold drawn values, empty where a trial drew none.

    with_test: add a column `test_acc`, which must not be in a table from which a trial is chosen.
    """
    write_rows(path, columns(trials, parameters, with_test), [trial.as_row() for trial in trials])


def columns(trials: Sequence[TrialResult], parameters: Iterable[str], with_test: bool = False) -> list[str]:
    """The columns of a table of the trials: see `write_csv`."""
    test = ["test_acc"] if with_test else []
    drawn = dict.fromkeys([*parameters, *(name for trial in trials for name in trial.record.parameters)])
    names = ["trial", "status", "reason", "epoch", *REPORTED, *test, *drawn, "seed", "run_name", "duration_s"]
    return list(dict.fromkeys(names))  # the seed may be drawn


def write_rows(path: UPath, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV file of these columns of the rows; missing values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
