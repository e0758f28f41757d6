"""What Tune calls: the config that a trial gets, the trial that trains by itself, the trial that a pack trains."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.exceptions import RayActorError
from upath import UPath

from codeq.config import RunConfig, SweepConfig
from codeq.storage.trial_folder import NO_ROW, Row, TrialFolder

if TYPE_CHECKING:
    from codeq.data import RawImages

FUSED_TRIAL_BYTES = 100 << 20
"""What Ray sets aside for a trial's own process, which needs no share of a CPU."""
RESTART_S = 300.0
"""How long a trial waits for the process of its pack to be there again."""


def trial_config(
    folder: TrialFolder,
    number: int,
    config: RunConfig,
    sweep: SweepConfig,
    *,
    device: str | None = None,
    images: Mapping[str, Any] | None = None,
    pack: str | None = None,
) -> dict[str, Any]:
    """The trial's config for Tune.

    device: where it runs whatever `config` says; None: as it says. images: references to data sets' raw images in
    Ray's object store, by `RunConfig.images_key`. pack: the name of the one that trains it.
    """
    # A relative folder is relative to where the user stands, not to where Tune runs the trial.
    data_dir = str(Path(config.data_dir).absolute())
    placed = {"data_dir": data_dir} if device is None else {"data_dir": data_dir, "device": device}
    return {
        "trial": number,
        "folder": str(folder.path),
        "images": (images or {}).get(config.images_key),
        "pack": pack,
        "run_config": {**config.as_dict(), **placed},
        "grace_epochs": sweep.scheduler.grace_epochs,
    }


def folder_name(config: dict[str, Any]) -> str:
    """What tables and dashboards call the trial: `0003`, or `0003_seed1` with a fresh seed."""
    return PurePosixPath(config["folder"]).name


class SweepTrial(tune.Trainable):
    """One trial as a Ray actor. Its folder, not Tune, keeps its rows and checkpoint: see `codeq.storage.trial_folder`.

    A Python exception is a result like any other: a last row with status failed. Only a process that dies is started
    again by Tune, and finds its checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `trial_config`."""
        self._folder = TrialFolder(UPath(config["folder"]))
        images = ray.get(config["images"]) if config.get("images") is not None else None
        run_config = RunConfig.model_validate(config["run_config"])
        self._rows = epochs(self._folder, run_config, config["grace_epochs"], images)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in this process, which has its imports behind it; everything else is built anew."""
        del self._rows
        gc.collect()  # the last trial's model is a circle of references
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; the same keys every time."""
        return report_of(next(self._rows))

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)


def report_of(row: Row) -> Row:
    """What Tune hears of a row: all of it, and whether it is the last."""
    return {**row, "done": row["status"] != "running"}


def epochs(
    folder: TrialFolder, config: RunConfig, grace_epochs: int, raw: RawImages | None = None
) -> Iterator[dict[str, Any]]:
    """The trial's rows, from the epoch after the newest checkpoint on; an exception becomes a row.

    raw: the data set's images, if they are at hand.
    """
    from codeq.data import load_data  # torch: not in the driver
    from codeq.train.device import prepare_device
    from codeq.train.loop import fit
    from codeq.train.trial_run import ended_row, failed_row, keep_epoch, open_run

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    row = dict(NO_ROW)
    try:
        data = None if raw is None else load_data(config, prepare_device(config.device, config.threads), raw)
        state = open_run(folder, config, data)
        if ended := ended_row(folder):
            yield ended
            return
        for epoch_row in fit(state, grace_epochs):
            yield (row := keep_epoch(folder, state, epoch_row))
    except Exception as error:  # the sweep goes on without this trial, whatever it raised
        yield failed_row(folder, row, error)


@cache
def _pack(name: str) -> Any:
    """The pack's handle, looked up once per process."""
    return ray.get_actor(name)


class FusedTrial(tune.Trainable):
    """One trial as a Ray actor of its own, for Tune's schedulers and the dashboard; its pack does the work.

    When the pack's process dies, the trial joins the one that Ray starts in its place, which finds its checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `trial_config`."""
        self._config = config
        self._pack = _pack(config["pack"])
        self._joined = False
        self._rows: list[dict[str, Any]] = []  # received, not reported yet
        self._epoch: int | None = None  # of the last row, None: none of this actor's yet

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the next trial."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The row of the next epoch; the same keys every time."""
        return report_of(self._next_row())

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)

    def _next_row(self) -> dict[str, Any]:
        if not self._rows:
            self._rows = self._receive()
        row = self._rows.pop(0)
        self._epoch = row["epoch"]
        return row

    def _receive(self) -> list[dict[str, Any]]:
        lost_at: float | None = None
        while True:
            try:
                if not self._joined:
                    number, run_config, images = (self._config[key] for key in ("trial", "run_config", "images"))
                    ray.get(self._pack.join.remote(self.trial_id, number, run_config, self._epoch, images))
                    self._joined = True
                rows: list[dict[str, Any]] = ray.get(self._pack.next_rows.remote(self.trial_id))
                if rows:
                    return rows
                self._joined = False
            except RayActorError:
                self._joined = False
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > RESTART_S:
                    raise
                time.sleep(0.5)
