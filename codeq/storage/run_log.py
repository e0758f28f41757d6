"""Which drivers worked on a sweep: command, machine, versions, begin and end, in the sweep's runs.json."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from upath import UPath

import codeq
from codeq.config.passwords import mask_password
from codeq.storage.atomic_files import write_atomically

log = logging.getLogger(__name__)

_FILE = "runs.json"
_PACKAGES = ("torch", "ray", "optuna")


@dataclass(frozen=True)
class DriverRun:
    """One driver's work. began: UTC, ISO 8601. seconds: None for a driver that was killed, or works now."""

    command: str
    began: str
    machine: str
    versions: str
    seconds: float | None = None

    def describe_duration(self) -> str:
        """Return the duration in words."""
        return "not ended" if self.seconds is None else f"{self.seconds:,.0f} s"


@contextmanager
def recorded_run(folder: UPath, arguments: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Record the `with` block as a driver's work on the sweep in `folder`. arguments: those of the command line.

    The function that it yields records the duration up to its call: for a page that is written before the end.
    """
    began = datetime.now(UTC)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    command = f"python tune_main.py {shlex.join(map(mask_password, arguments))}"
    run = DriverRun(
        command=command,
        began=began.isoformat(timespec="seconds"),
        machine=f"{platform.node()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        versions=f"codeq-tune {codeq.__version__}, {packages}, Python {sys.version.split()[0]}",
    )
    earlier = read_runs(folder)

    def record_duration() -> None:
        _write(folder, [*earlier, replace(run, seconds=(datetime.now(UTC) - began).total_seconds())])

    _write(folder, [*earlier, run])
    try:
        yield record_duration
    finally:
        record_duration()


def read_runs(folder: UPath) -> list[DriverRun]:
    """Return the recorded runs in order; none, and a warning, if the record is damaged: no result depends on it."""
    path = folder / _FILE
    if not path.exists():
        return []
    try:
        return [DriverRun(**run) for run in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        log.warning("%s: damaged, it starts anew: %s", path, error)
        return []


def _write(folder: UPath, runs: Sequence[DriverRun]) -> None:
    write_atomically(folder / _FILE, json.dumps([asdict(run) for run in runs], indent=1) + "\n")
