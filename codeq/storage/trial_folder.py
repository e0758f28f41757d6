"""The files of one trial: run config, metrics of each epoch, checkpoint and record.

config.yaml     the run config; written when the trial is created
metrics.jsonl   one row per completed epoch, appended by the worker before it writes the checkpoint of that epoch
checkpoint.th   the newest checkpoint, atomically replaced
checkpoint_previous.th   the one before it, while the trial runs
layers.json     the compression of each layer, of a trial that has trained all its epochs
error.txt       the traceback, if the trial failed
trial.json      number, parameters, seed and, in the end, status, reason, duration and, of a winner, test accuracy;
                written by the driver, with the last row once the trial has ended
writer          the process that trains it, by which one that is thought dead and is not writes nothing more
wandb.json      the trial's run at W&B, if it is on; written by `codeq.train.wandb_tracker` on the driver's machine
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import re
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from upath import UPath

from codeq.config.document import parse_document, to_yaml
from codeq.config.errors import ConfigError
from codeq.config.metrics import REPORTED
from codeq.config.paths import escape_paths, expand_paths
from codeq.config.run import RunConfig
from codeq.config.text import first_line, pluralize
from codeq.storage.atomic_files import is_local, warn_once, with_path, write_atomically
from codeq.storage.driver_lock import SweepTakenOver

log = logging.getLogger(__name__)

_T = TypeVar("_T")

AT_ONCE = 16
"""Folders behind a URL that are read at the same time."""

TrialStatus = Literal["running", "finished", "stopped", "diverged", "collapsed", "failed"]

Row = dict[str, Any]

EMPTY_METRICS: Row = {"epoch": 0, **{name: math.nan for name in REPORTED}}
"""The metrics of a trial that has completed no epoch: NaN."""
ROW_KEYS = (*EMPTY_METRICS, "val_images", "status", "reason")
"""The keys of a row in metrics.jsonl."""


@dataclass(frozen=True)
class TrialRecord:
    """What the driver knows of a trial.

    parameters: the drawn values by dotted path. duration_s: seconds. test_acc: percent, None: not measured, as for all
    but winners. last_row: of a trial that has ended, so that damage to metrics.jsonl does not change its result.
    """

    trial: int
    run_name: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)
    status: TrialStatus = "running"
    reason: str = ""
    duration_s: float = 0.0
    test_acc: float | None = None
    last_row: Row | None = None


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


_RECORD, _LAYERS = TypeAdapter(TrialRecord), TypeAdapter(list[Layer])


class StateDamaged(Exception):
    """Stored state cannot be read, or belongs to another sweep; the message has a line with path and reason each."""


def _damaged(path: UPath, error: ValidationError) -> StateDamaged:
    """The first problem of a file in one line."""
    problem = error.errors()[0]
    where = "".join(f"{part}: " for part in problem["loc"])
    return StateDamaged(f"{path}: damaged: {where}{problem['msg']}")


class TrialFolder:
    """The folder at `path`, local or behind a URL; nothing is created before something is written."""

    def __init__(self, path: UPath) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.th"
        self.previous_checkpoint = path / "checkpoint_previous.th"
        self._config = path / "config.yaml"
        self._rows = path / "metrics.jsonl"
        self._record = path / "trial.json"
        self._layers = path / "layers.json"
        self._writer = path / "writer"

    @property
    def sweep_folder(self) -> UPath:
        """The folder of the sweep that the trial, or the run that confirms it, belongs to."""
        return self.path.parent.parent

    def write_config(self, config: RunConfig) -> None:
        """Write the run config as YAML that trains by itself."""
        write_atomically(self._config, to_yaml(escape_paths(config.as_dict())))

    def read_config(self) -> RunConfig:
        """Return the run config. Raises StateDamaged."""
        try:
            document = parse_document(self._config.read_text(encoding="utf-8"), str(self._config))
            expand_paths(document)
            data = document.data
            if isinstance(data, dict) and isinstance(data.get("quantizer"), dict):
                data["quantizer"].setdefault("quantize_norms", True)  # as before there was this key
            return RunConfig.model_validate(data)
        except ValidationError as error:
            raise _damaged(self._config, error) from None
        except (OSError, ValueError, ConfigError) as error:
            raise StateDamaged(f"{self._config}: damaged: {first_line(error)}") from None

    def write_record(self, record: TrialRecord) -> None:
        """Replace the record."""
        write_atomically(self._record, json.dumps(asdict(record), indent=1) + "\n")

    def read_record(self) -> TrialRecord | None:
        """The record, or None if the trial was never created. Raises StateDamaged."""
        if (content := _content(self._record)) is None:
            return None
        try:
            return _RECORD.validate_json(content)
        except ValidationError as error:
            raise _damaged(self._record, error) from None

    def claim(self) -> str:
        """Make the caller the only process that writes what is trained; returns its claim, for `check_claim`."""
        claim = secrets.token_hex(8)
        write_atomically(self._writer, claim)
        return claim

    def check_claim(self, claim: str) -> None:
        """Raise SweepTakenOver if another process has claimed the trial: Ray has lost sight of this one's node."""
        if _content(self._writer) != claim.encode():
            raise SweepTakenOver(f"{self.path}: another process trains this trial")

    def write_error(self, text: str) -> None:
        """Write the traceback of a failed trial."""
        write_atomically(self.path / "error.txt", text)

    def write_layers(self, layers: Sequence[Layer]) -> None:
        """Write the compression of each layer."""
        write_atomically(self._layers, json.dumps([asdict(layer) for layer in layers]) + "\n")

    def read_layers(self) -> list[Layer]:
        """Return the compression of each layer; empty if it is not recorded, or damaged: no result depends on it."""
        if (content := _content(self._layers)) is None:
            return []
        try:
            return _LAYERS.validate_json(content)
        except ValidationError as error:
            warn_once(log, f"{_damaged(self._layers, error)}; left out")
            return []

    def append_row(self, row: dict[str, Any]) -> None:
        """Add an epoch's row, safely on disk when this returns."""
        line = json.dumps(row) + "\n"
        if not is_local(self._rows):
            before = self._rows.read_text() if self._rows.exists() else ""
            self._rows.write_text(before + line)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with self._rows.open("a") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise with_path(error, self._rows) from None

    def rows(self) -> list[Row]:
        """Return the rows in the order of their epochs. Lines that are damaged are left out, with one warning; so is an
        incomplete last line, which a crash leaves, without one."""
        if (content := _content(self._rows)) is None:
            return []
        lines = content.split(b"\n")[:-1]
        parsed = [parse_row(line) for line in lines]
        rows: list[Row] = []
        for row in parsed:
            if row is not None and (not rows or row["epoch"] > rows[-1]["epoch"]):
                rows.append(row)
        if len(rows) < len(lines):
            warn_once(log, f"{self._rows}: {pluralize(len(lines) - len(rows), 'damaged line')} ignored")
        return rows

    def last_row(self) -> Row:
        """The trial's last row, whether the driver has received it or not; EMPTY_METRICS if there is none."""
        rows = self.rows()
        return {**EMPTY_METRICS, **(rows[-1] if rows else {})}

    def epochs_without_gap(self) -> int:
        """How many of the first epochs have their rows."""
        epochs = {row["epoch"] for row in self.rows()}
        return next(epoch for epoch in itertools.count() if epoch + 1 not in epochs)

    def drop_rows_after(self, epoch: int) -> None:
        """Delete the rows after `epoch`, which are trained again, and what is no row."""
        kept = [row for row in self.rows() if row["epoch"] <= epoch]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        if self._rows.exists() and self._rows.read_bytes() != text.encode():
            write_atomically(self._rows, text)

    def keep_previous_checkpoint(self) -> None:
        """Keep the newest checkpoint as the previous one, before another is written."""
        if self.checkpoint.exists():
            self.checkpoint.rename(self.previous_checkpoint)

    def copy_training(self, other: TrialFolder) -> None:
        """Copy the config, the rows and the checkpoints of another folder, those that there are."""
        for theirs, ours in (
            (other._config, self._config),
            (other._rows, self._rows),
            (other.checkpoint, self.checkpoint),
            (other.previous_checkpoint, self.previous_checkpoint),
        ):
            if theirs.exists():
                write_atomically(ours, theirs.read_bytes())

    def remove(self) -> None:
        """Delete the folder."""
        self.path.fs.rm(self.path.path, recursive=True)

    def remove_checkpoints(self, *, keep_newest: bool = False) -> None:
        """Delete the checkpoints, or all but the newest."""
        for path in (self.previous_checkpoint, *(() if keep_newest else (self.checkpoint,))):
            path.unlink(missing_ok=True)


def parse_row(line: bytes) -> Row | None:
    """Return the row in a line of metrics.jsonl; None if the line is damaged."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("epoch"), int) else None


def trial_folder(sweep_folder: UPath, number: int) -> TrialFolder:
    """The folder of trial `number` of a sweep."""
    return TrialFolder(sweep_folder / "trials" / f"{number:04d}")


def trial_folders(sweep_folder: UPath) -> list[TrialFolder]:
    """The folders of all trials of a sweep that have a record, by number."""
    return _recorded(sweep_folder / "trials", r"\d{4,}")


def confirm_folder(sweep_folder: UPath, number: int, seed: int) -> TrialFolder:
    """The folder in which trial `number` is trained again with another seed."""
    return TrialFolder(sweep_folder / "confirm" / f"{number:04d}_seed{seed}")


def confirm_folders(sweep_folder: UPath) -> list[TrialFolder]:
    """The folders of all trials that were trained again."""
    return _recorded(sweep_folder / "confirm", r"\d{4,}_seed\d+")


def _recorded(parent: UPath, names: str) -> list[TrialFolder]:
    """The folders with a record whose names are of this pattern: a user's copy such as `0003.bak` is no trial."""
    paths = sorted(parent.iterdir(), key=lambda path: path.name) if parent.exists() else []
    folders = [TrialFolder(path) for path in paths if re.fullmatch(names, path.name)]
    there = from_each(folders, lambda folder: folder._record.exists())
    return [folder for folder, is_there in zip(folders, there, strict=True) if is_there]


def from_each(folders: Sequence[TrialFolder], read: Callable[[TrialFolder], _T]) -> list[_T]:
    """What `read` returns for each folder, in their order. Behind a URL several are read at a time: a server takes tens
    of milliseconds for each file."""
    if not folders or is_local(folders[0].path):
        return [read(folder) for folder in folders]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(read, folders))


def _content(path: UPath) -> bytes | None:
    """The content of the file; None if there is none."""
    try:
        return bytes(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
