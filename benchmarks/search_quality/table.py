"""Recorded trials of one sweep, which searches use instead of training."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from benchmarks.options import ROOT
from codeq.config.objectives import Objectives, maximized_values

RECORDED = ROOT / "benchmarks" / "search_quality" / "digits.csv.gz"
METRICS = ("val_acc", "sparsity", "rel_bops")
COLUMNS = ("trial", "epoch", *METRICS, "status")

Row = dict[str, Any]
Unused = NDArray[np.bool_]
"""Whether each trial of the table is still unused, (trials,)."""


@dataclass(frozen=True)
class RecordedTrial:
    """parameters: drawn values by dotted path. rows: of its epochs from 1 on; the last contains its final status."""

    parameters: dict[str, float]
    rows: Sequence[Row]

    @property
    def finished(self) -> bool:
        """Whether it trained all its epochs without diverging or collapsing."""
        return bool(self.rows[-1]["status"] == "finished")


class Table:
    """All recorded trials, and the hypervolume of a set of them."""

    def __init__(self, trials: Sequence[RecordedTrial], objectives: Objectives) -> None:
        self.trials = trials
        self._gains = np.array([maximized_values(trial.rows[-1], objectives) for trial in trials])
        finished = np.array([trial.finished for trial in trials])
        self._best, self._worst = self._gains[finished].max(axis=0), self._gains[finished].min(axis=0)
        self._names = list(trials[0].parameters)
        self._places = np.log([list(trial.parameters.values()) for trial in trials])
        self._places = (self._places - self._places.min(axis=0)) / np.ptp(self._places, axis=0)
        self._span = np.log([[f(t.parameters[n] for t in trials) for n in self._names] for f in (min, max)])
        self.hypervolume = self.hypervolume_of(np.flatnonzero(finished))

    def hypervolume_of(self, finished: Sequence[int] | NDArray[np.intp]) -> float:
        """Return the hypervolume of these trials' objectives, scaled to 0..1 over the finished trials."""
        if not len(finished):
            return 0.0
        scaled = (self._gains[list(finished)] - self._worst) / (self._best - self._worst)
        return float(moocore.hypervolume(scaled, ref=np.zeros(scaled.shape[1]), maximise=True))

    def nearest(self, parameters: Mapping[str, float], unused: Unused) -> int:
        """Return the unused trial with the nearest parameters; their logarithms are scaled to 0..1."""
        wanted = np.log([parameters[name] for name in self._names])
        distance = np.linalg.norm(self._places - (wanted - self._span[0]) / (self._span[1] - self._span[0]), axis=1)
        return int(np.where(unused, distance, np.inf).argmin())


def read_table(objectives: Objectives, path: Path = RECORDED, first: int | None = None) -> Table:
    """Read the file of `write_table`; first: the number of trials to read, None: all."""
    parameters: dict[int, dict[str, float]] = {}
    rows: dict[int, list[Row]] = {}
    with gzip.open(path, "rt", newline="") as file:
        for line in csv.DictReader(file):
            number = int(line["trial"])
            drawn = {name: float(value) for name, value in line.items() if name not in COLUMNS and value}
            parameters.setdefault(number, drawn)
            row = {"epoch": int(line["epoch"]), "status": line["status"], "reason": ""}
            rows.setdefault(number, []).append({**row, **{name: float(line[name]) for name in METRICS}})
    chosen = list(rows)[:first]
    return Table([RecordedTrial(parameters[number], rows[number]) for number in chosen], objectives)


def write_table(trials: Sequence[RecordedTrial], path: Path = RECORDED) -> None:
    """Write a line for each epoch; a trial's first line contains its parameters."""
    columns = [*COLUMNS, *trials[0].parameters]
    # Without a time in its header the same trials give the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        lines = (line for number, trial in enumerate(trials) for line in _lines(number, trial))
        text = [dict(zip(columns, columns, strict=True)), *lines]
        packed.write("".join(",".join(str(line.get(name, "")) for name in columns) + "\n" for line in text).encode())


def _lines(number: int, trial: RecordedTrial) -> list[Row]:
    rows = [{"trial": number, **row} for row in trial.rows]
    return [{**rows[0], **trial.parameters}, *rows[1:]]
