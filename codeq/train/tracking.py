"""Weights & Biases: one run per training run, sent from a separate thread so that it cannot stop training."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeq.config.metrics import REPORTED
from codeq.config.text import first_line

log = logging.getLogger(__name__)

INIT_TIMEOUT_S = 15
CLOSE_TIMEOUT_S = 60


def wandb_off_reason(project: str | None) -> str | None:
    """Return the reason why nothing is sent to W&B; None if it is on.

    It is on if `wandb_project` is set and there is WANDB_MODE=offline, WANDB_API_KEY, or the key of `wandb login`.
    """
    mode = os.environ.get("WANDB_MODE", "online")
    if project is None:
        return "wandb_project is not set"
    if mode == "disabled":
        return "WANDB_MODE=disabled"
    if mode == "offline" or os.environ.get("WANDB_API_KEY"):
        return None
    os.environ.setdefault("WANDB_SILENT", "true")  # otherwise it asks the server for the user's name, to print it
    import wandb  # takes 1 s to import

    try:
        if wandb.login(prompt=False, verify=False):
            return None
    except Exception as error:  # a key or an address that is none
        return first_line(error)
    return "no key; run `wandb login` or set WANDB_API_KEY, or WANDB_MODE=offline to record without a server"


@dataclass(frozen=True)
class _Start:
    key: int
    options: dict[str, Any]


@dataclass(frozen=True)
class _Log:
    key: int
    row: dict[str, Any]


@dataclass(frozen=True)
class _Finish:
    key: int
    row: dict[str, Any]


class Tracker:
    """Interface for sending rows to an experiment tracker; this class discards them."""

    def start(self, key: int, name: str, config: dict[str, Any]) -> None:
        """Begin a run; later calls refer to it by `key`. `config` is logged completely."""

    def log(self, key: int, row: dict[str, Any]) -> None:
        """Log one epoch's row; its `epoch` is the step."""

    def finish(self, key: int, status: str, reason: str = "") -> None:
        """End a run; `status` and `reason` go to its summary, any status but finished or stopped marks it failed."""

    def close(self) -> None:
        """Wait until everything is sent."""


def open_tracker(project: str | None, folder: Path, group: str | None = None) -> Tracker:
    """Return a tracker that sends runs to the W&B project, or discards them if W&B is off; the reason is logged."""
    off = wandb_off_reason(project)
    if project is None or off is not None:
        log.info("W&B is off: %s", off)
        return Tracker()
    return WandbTracker(project, folder, group)


class WandbTracker(Tracker):
    """Sends runs to W&B in the background; the first failure turns it off with one log line and training continues.

    project, group: as in W&B; a sweep's runs share the sweep's name as their group. folder: where W&B keeps files.
    """

    def __init__(self, project: str, folder: Path, group: str | None = None) -> None:
        self._common: dict[str, Any] = {"project": project, "group": group, "dir": str(folder)}
        self._runs: dict[int, Any] = {}
        self._actions: queue.Queue[_Start | _Log | _Finish | None] = queue.Queue()
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def start(self, key: int, name: str, config: dict[str, Any]) -> None:
        self._actions.put(_Start(key, {"name": name, "config": config}))

    def log(self, key: int, row: dict[str, Any]) -> None:
        self._actions.put(_Log(key, dict(row)))

    def finish(self, key: int, status: str, reason: str = "") -> None:
        self._actions.put(_Finish(key, {"status": status, "reason": reason}))

    def close(self) -> None:
        """Wait until everything is sent, at most a minute."""
        self._actions.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("W&B did not answer within %d s; `wandb sync` sends what is left later", CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        while (action := self._actions.get()) is not None:
            try:
                self._do(action)
            except Exception as error:  # no exception of W&B may stop the training
                log.warning("W&B is off from here on: %s", first_line(error))
                break
        for run in self._runs.values():
            _quietly(run.finish)

    def _do(self, action: _Start | _Log | _Finish) -> None:
        match action:
            case _Start(key, options):
                self._runs[key] = self._open(options)
            case _Log(key, row):
                metrics = {name: row[name] for name in REPORTED if name in row}
                self._runs[key].log(metrics, step=row["epoch"])
            case _Finish(key, row):
                run = self._runs.pop(key)
                run.summary.update(row)
                run.finish(exit_code=0 if row["status"] in ("finished", "stopped") else 1)

    def _open(self, options: dict[str, Any]) -> Any:
        import wandb  # takes 1 s to import and is needed only here

        settings = wandb.Settings(init_timeout=INIT_TIMEOUT_S, silent=True, console="off")
        return wandb.init(**self._common, **options, reinit="create_new", settings=settings)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:  # the run has ended; `wandb sync` can send the files on disk
        log.debug("W&B: %s", error)
