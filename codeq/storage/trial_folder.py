"""The files of one trial: run config, metrics of each epoch, checkpoint and record.

config.yaml     the run config; written when the trial is created
metrics.jsonl   one row per completed epoch, appended by the worker before it writes the checkpoint of that epoch
checkpoint.th   the newest checkpoint, atomically replaced
layers.json     the compression of each layer, of a trial that has trained all its epochs
error.txt       the traceback, if the trial failed
trial.json      number, parameters, seed and, in the end, status, reason, duration and, of a winner, test accuracy;
                written by the driver
wandb.json      the trial's run at W&B, if it is on; written by `codeq.train.wandb_tracker` on the driver's machine
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from upath import UPath

from codeq.config.document import parse_document, to_yaml
from codeq.config.errors import ConfigError
from codeq.config.metrics import REPORTED
from codeq.config.run import RunConfig
from codeq.config.text import first_line
from codeq.storage.atomic_files import is_local, write_atomically

TrialStatus = Literal["running", "finished", "stopped", "diverged", "collapsed", "failed"]

Row = dict[str, Any]

EMPTY_METRICS: Row = {"epoch": 0, **{name: math.nan for name in REPORTED}}
"""The metrics of a trial that has completed no epoch: NaN."""


@dataclass(frozen=True)
class TrialRecord:
    """What the driver knows of a trial.

    parameters: the drawn values by dotted path. duration_s: seconds. test_acc: percent, None: not measured, as for all
    but winners.
    """

    trial: int
    run_name: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)
    status: TrialStatus = "running"
    reason: str = ""
    duration_s: float = 0.0
    test_acc: float | None = None


@dataclass(frozen=True)
class Layer:
    """The compression of one layer. sparsity: 0..1. bits: per weight. dense_bops, bops: its share of the bit operations
    of the dense 32-bit network, before and after compression, 0..1.
    """

    name: str
    sparsity: float
    bits: float
    dense_bops: float
    bops: float


class StateDamaged(Exception):
    """Stored state cannot be read, or belongs to another sweep; the message has a line with path and reason each."""


class TrialFolder:
    """The folder at `path`, local or behind a URL; nothing is created before something is written."""

    def __init__(self, path: UPath) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.th"
        self._config = path / "config.yaml"
        self._rows = path / "metrics.jsonl"
        self._record = path / "trial.json"
        self._layers = path / "layers.json"

    @property
    def sweep_folder(self) -> UPath:
        """The folder of the sweep that the trial, or the run that confirms it, belongs to."""
        return self.path.parent.parent

    def write_config(self, config: RunConfig) -> None:
        """Write the run config as YAML that trains by itself."""
        write_atomically(self._config, to_yaml(config.as_dict()))

    def read_config(self) -> RunConfig:
        """Return the run config. Raises StateDamaged."""
        try:
            data = parse_document(self._config.read_text(), str(self._config)).data
            if isinstance(data, dict) and isinstance(data.get("quantizer"), dict):
                data["quantizer"].setdefault("quantize_norms", True)  # as before there was this key
            return RunConfig.model_validate(data)
        except (OSError, ValueError, ConfigError) as error:
            raise StateDamaged(f"{self._config}: damaged: {first_line(error)}") from None

    def write_record(self, record: TrialRecord) -> None:
        """Replace the record."""
        write_atomically(self._record, json.dumps(asdict(record), indent=1) + "\n")

    def read_record(self) -> TrialRecord | None:
        """The record, or None if the trial was never created. Raises StateDamaged."""
        if not self._record.exists():
            return None
        try:
            return TrialRecord(**json.loads(self._record.read_text()))
        except (ValueError, TypeError) as error:
            raise StateDamaged(f"{self._record}: damaged: {error}") from None

    def write_error(self, text: str) -> None:
        """Write the traceback of a failed trial."""
        write_atomically(self.path / "error.txt", text)

    def write_layers(self, layers: Sequence[Layer]) -> None:
        """Write the compression of each layer."""
        write_atomically(self._layers, json.dumps([asdict(layer) for layer in layers]) + "\n")

    def read_layers(self) -> list[Layer]:
        """Return the compression of each layer; empty if it is not recorded. Raises StateDamaged."""
        if not self._layers.exists():
            return []
        try:
            return [Layer(**layer) for layer in json.loads(self._layers.read_text())]
        except (ValueError, TypeError) as error:
            raise StateDamaged(f"{self._layers}: damaged: {error}") from None

    def append_row(self, row: dict[str, Any]) -> None:
        """Add an epoch's row, safely on disk when this returns."""
        line = json.dumps(row) + "\n"
        if not is_local(self._rows):
            before = self._rows.read_text() if self._rows.exists() else ""
            self._rows.write_text(before + line)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with self._rows.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """Return all complete rows; an incomplete last line, left by a crash, is ignored. Raises StateDamaged."""
        if not self._rows.exists():
            return []
        lines = self._rows.read_text().split("\n")[:-1]
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise StateDamaged(f"{self._rows}: damaged: {error}") from None

    def last_row(self) -> Row:
        """The last complete row, whether the driver has received it or not; EMPTY_METRICS if there is none."""
        rows = self.rows()
        return {**EMPTY_METRICS, **(rows[-1] if rows else {})}

    def drop_rows_after(self, epoch: int) -> None:
        """Delete the rows after `epoch`, whose checkpoint was not written: these epochs are trained again."""
        rows = self.rows()
        kept = [row for row in rows if row["epoch"] <= epoch]
        if len(kept) < len(rows) or self._ends_with_half_a_line():
            write_atomically(self._rows, "".join(json.dumps(row) + "\n" for row in kept))

    def _ends_with_half_a_line(self) -> bool:
        text = self._rows.read_text() if self._rows.exists() else ""
        return bool(text) and not text.endswith("\n")


def trial_folder(sweep_folder: UPath, number: int) -> TrialFolder:
    """The folder of trial `number` of a sweep."""
    return TrialFolder(sweep_folder / "trials" / f"{number:04d}")


def trial_folders(sweep_folder: UPath) -> list[TrialFolder]:
    """The folders of all trials of a sweep that have a record, by number."""
    return _recorded(sweep_folder / "trials")


def confirm_folder(sweep_folder: UPath, number: int, seed: int) -> TrialFolder:
    """The folder in which trial `number` is trained again with another seed."""
    return TrialFolder(sweep_folder / "confirm" / f"{number:04d}_seed{seed}")


def confirm_folders(sweep_folder: UPath) -> list[TrialFolder]:
    """The folders of all trials that were trained again."""
    return _recorded(sweep_folder / "confirm")


def _recorded(parent: UPath) -> list[TrialFolder]:
    paths = sorted(parent.iterdir(), key=lambda path: path.name) if parent.exists() else []
    return [TrialFolder(path) for path in paths if (path / "trial.json").exists()]
