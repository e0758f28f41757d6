"""Weights & Biases: whether it is on, and what a training loop or a sweep tells it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeq.config.text import first_line

log = logging.getLogger(__name__)

_ENVIRONMENT = {
    "WANDB_SILENT": "true",  # otherwise it asks the server for the user's name, to print it
    "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "1",  # seconds; what is not on disk is lost if the driver is killed
    "WANDB_ERROR_REPORTING": "false",  # W&B's reports about itself delay the end by 10 s if they do not arrive
}
"""Read by W&B when it is imported."""


def wandb_off_reason(project: str | None) -> str | None:
    """Return the reason why nothing is sent to W&B; None if it is on.

    It is on if `wandb_project` is set and there is WANDB_MODE=offline, WANDB_API_KEY, or the key of `wandb login`.
    """
    if project is None:
        return "wandb_project is not set"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mode = os.environ.get("WANDB_MODE", "online")
    if mode == "disabled":
        return "WANDB_MODE=disabled"
    if mode in ("offline", "dryrun") or os.environ.get("WANDB_API_KEY"):
        return None
    try:
        import wandb  # takes 1 s to import

        if wandb.login(prompt=False, verify=False):
            return None
    except Exception as error:  # a key or an address that is none, a broken installation
        return first_line(error)
    return "no key; run `wandb login` or set WANDB_API_KEY, or WANDB_MODE=offline to record without a server"


@dataclass(frozen=True)
class SweepReport:
    """What a sweep has found, for its group of runs.

    summary: scores by name. columns, rows: the front as a table. page: report.html, None if there is none.
    configs: the winners' configs and tables by file name.
    """

    summary: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    page: bytes | None = None
    configs: Mapping[str, bytes] = field(default_factory=dict)


class Tracker:
    """Interface for sending rows to an experiment tracker; this class discards them.

    is_on: whether anything is sent.
    """

    is_on = False

    def start(self, key: int, name: str, config: dict[str, Any], memory: Path) -> None:
        """Begin a run, or continue the one that the file `memory` names; later calls refer to it by `key`.

        config: logged completely. memory: where the run's id and last step are kept.
        """

    def log(self, key: int, row: dict[str, Any]) -> None:
        """Log one epoch's row; its `epoch` is the step. Rows that the run has already are ignored."""

    def finish(self, key: int, status: str, reason: str = "") -> None:
        """End a run; `status` and `reason` go to its summary; any status but finished or stopped marks it failed."""

    def finish_all(self) -> None:
        """End the runs that are open as interrupted: a later `start` continues them."""

    def report(self, report: SweepReport) -> None:
        """Attach what the sweep has found to its group, as a run of its own."""

    def close(self) -> None:
        """Wait until everything is sent."""


def open_tracker(project: str | None, folder: Path, group: str | None = None) -> Tracker:
    """Return a tracker that sends runs to the W&B project, or discards them if W&B is off; the reason is logged.

    project: `PROJECT` or `ENTITY/PROJECT`. folder: where W&B keeps its files. group: the sweep's name.
    """
    off = wandb_off_reason(project)
    if project is None or off is not None:
        log.info("W&B is off: %s", off)
        return Tracker()
    from codeq.train.wandb_tracker import WandbTracker

    return WandbTracker(project, folder, group)
