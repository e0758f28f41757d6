"""Sends runs to Weights & Biases from a thread, so that it cannot stop or delay training."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import secrets
import subprocess
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codeq.config.metrics import REPORTED
from codeq.config.text import first_line
from codeq.storage.atomic_files import write_atomically
from codeq.train.tracking import SweepReport, Tracker

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
"""The status of a run that --resume continues."""

INIT_TIMEOUT_S = 15
FINISH_TIMEOUT_S = 20
CLOSE_TIMEOUT_S = 27
"""Seconds that the end of a sweep waits for W&B, all told."""


def new_run_id() -> str:
    """Return an id for a run. It begins with a letter: W&B reads one such as 178e2133 as a number."""
    return f"t{secrets.token_hex(4)}"


@dataclass(frozen=True)
class StoredRun:
    """A run at W&B as a resumed training must know it: where it is, and its last step."""

    project: str
    id: str
    step: int = 0

    @classmethod
    def read(cls, path: Path, project: str) -> StoredRun | None:
        """Return the run that was stored in the file; None if there is none in this project."""
        try:
            stored = cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):  # a lost memory begins another run
            return None
        return stored if stored.project == project else None

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_atomically(path, json.dumps(asdict(self)) + "\n")


@dataclass
class _OpenRun:
    """A run that is being sent. run: wandb's."""

    run: Any
    stored: StoredRun
    memory: Path


class WandbTracker(Tracker):
    """Sends runs to W&B in the background; the first failure turns it off with one log line and training continues.

    project: `PROJECT` or `ENTITY/PROJECT`. group: as in W&B; a sweep's runs share the sweep's name as their group.
    folder: where W&B keeps files.
    """

    is_on = True

    def __init__(self, project: str, folder: Path, group: str | None = None) -> None:
        entity, _, name = project.rpartition("/")
        self._project, self._folder, self._group = project, folder, group
        self._common: dict[str, Any] = {"project": name, "entity": entity or None, "group": group, "dir": str(folder)}
        self._runs: dict[int, _OpenRun] = {}
        self._service: subprocess.Popen[bytes] | None = None  # the process in which W&B sends
        self._actions: queue.Queue[Callable[[], None] | None] = queue.Queue()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(folder))  # what is attached waits there until it is sent
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def start(self, key: int, name: str, config: dict[str, Any], memory: Path) -> None:
        job = "trial" if self._group else None
        self._actions.put(lambda: self._start(key, memory, name=name, config=config, job_type=job))

    def log(self, key: int, row: dict[str, Any]) -> None:
        copy = dict(row)
        self._actions.put(lambda: self._log(key, copy))

    def finish(self, key: int, status: str, reason: str = "") -> None:
        self._actions.put(lambda: self._finish(key, status, reason))

    def finish_all(self) -> None:
        self._actions.put(self._interrupt_all)

    def report(self, report: SweepReport) -> None:
        self._actions.put(lambda: self._report(report))

    def close(self) -> None:
        """Wait until everything is sent, at most CLOSE_TIMEOUT_S seconds."""
        self._actions.put(self._interrupt_all)
        self._actions.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            where = f"`wandb sync {self._folder}/wandb/*run-*`"
            log.warning("W&B did not answer within %d s; %s sends what is left later", CLOSE_TIMEOUT_S, where)
            if self._service is not None:
                self._service.kill()  # otherwise W&B waits for it without end when this process exits
                self._thread.join(1)

    def _work(self) -> None:
        while (action := self._actions.get()) is not None:
            try:
                action()
            except Exception as error:  # no exception of W&B may stop the training
                log.warning("W&B is off from here on: %s", first_line(error))
                break
        with contextlib.suppress(Exception):
            import wandb

            wandb.teardown()  # returns when its service has sent everything and has ended

    def _start(self, key: int, memory: Path, **options: Any) -> None:
        stored = StoredRun.read(memory, self._project) or StoredRun(self._project, new_run_id())
        stored.write(memory)
        run = self._open(stored, **options)
        if not run.offline:  # a killed driver had logged rows that never reached the server
            stored = replace(stored, step=min(stored.step, run.starting_step - 1))
        self._runs[key] = _OpenRun(run, stored, memory)

    def _log(self, key: int, row: dict[str, Any]) -> None:
        """A resumed sweep repeats rows of which it does not know whether the last driver has logged them."""
        opened = self._runs[key]
        if row["epoch"] > opened.stored.step:
            metrics = {name: row[name] for name in REPORTED if name in row}
            opened.run.log(metrics, step=row["epoch"], commit=True)  # by default W&B keeps a row until the next one
            opened.stored = replace(opened.stored, step=row["epoch"])
            opened.stored.write(opened.memory)

    def _finish(self, key: int, status: str, reason: str) -> None:
        run = self._runs.pop(key).run
        run.summary.update({"status": status, "reason": reason})
        run.tags = (*(tag for tag in run.tags or () if tag != INTERRUPTED), status)
        if status == INTERRUPTED:
            run.mark_preempting()  # W&B shows it as preempted, not as failed
        run.finish(exit_code=0 if status in ("finished", "stopped") else 1)

    def _interrupt_all(self) -> None:
        for key in list(self._runs):
            self._finish(key, INTERRUPTED, "--resume goes on")

    def _report(self, report: SweepReport) -> None:
        import wandb

        memory = self._folder / "report.json"
        stored = StoredRun.read(memory, self._project) or StoredRun(self._project, new_run_id())
        stored.write(memory)
        run = self._open(stored, name=f"{self._group} report", job_type="report")
        run.log({"front": wandb.Table(columns=list(report.columns), data=[list(row) for row in report.rows])})
        run.summary.update(dict(report.summary))
        files = {f"{self._group}-winners": report.configs}
        if report.page is not None:
            files[f"{self._group}-report"] = {"report.html": report.page}
        for name, contents in files.items():
            artifact = wandb.Artifact(name, type=name.rpartition("-")[2])
            for file_name, content in contents.items():
                with artifact.new_file(file_name, mode="wb") as file:
                    file.write(content)
            run.log_artifact(artifact)
        run.finish(exit_code=0)

    def _open(self, stored: StoredRun, **options: Any) -> Any:
        import wandb  # takes 1 s to import and is needed only here

        settings = wandb.Settings(
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
            silent=True,
            console="off",
        )
        # Offline, too: `wandb sync` then appends what a resumed run has logged to what it had before.
        run = wandb.init(
            **self._common, **options, id=stored.id, resume="allow", reinit="create_new", settings=settings
        )
        with contextlib.suppress(AttributeError):  # not public
            setup: Any = wandb.setup()
            self._service = setup.assert_service()._proc._process
        return run
