"""What Tune calls: a trial's config, the trial that trains in its own process, and the trial that a pack trains."""

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
from codeq.plugins import load_stored
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialFolder

if TYPE_CHECKING:
    from codeq.data import RawImages

FUSED_TRIAL_BYTES = 100 << 20
"""Memory that Ray reserves for the process of a fused trial, which needs no CPU."""
RESTART_S = 300.0
"""Seconds that a trial waits for Ray to restart its pack."""


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

    device: overrides the config's device; None: does not. images: references to data sets' raw images in
    Ray's object store, by `RunConfig.images_key`. pack: the name of the pack that trains it.
    """
    # A relative folder is relative to the driver's working directory, not to the trial's.
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
    """The trial's name in tables and dashboards: `0003`, or `0003_seed1` with a fresh seed."""
    return PurePosixPath(config["folder"]).name


class SweepTrial(tune.Trainable):
    """One trial as a Ray actor. Its folder, not Tune, keeps its rows and checkpoint: see `codeq.storage.trial_folder`.

    A Python exception becomes a last row with status failed. Tune restarts only a process that has died, which then
    continues from its checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `trial_config`."""
        self._folder = TrialFolder(UPath(config["folder"]))
        images = ray.get(config["images"]) if config.get("images") is not None else None
        load_stored(self._folder.sweep_folder)  # a config may name their parts
        run_config = RunConfig.model_validate(config["run_config"])
        self._rows = epochs(self._folder, run_config, config["grace_epochs"], images)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in this process, which saves its imports; everything else is built anew."""
        del self._rows
        gc.collect()  # the last trial's model has reference cycles
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; the same keys every time."""
        return report_of(next(self._rows))

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)


def report_of(row: Row) -> Row:
    """The report to Tune: the row, and whether it is the last."""
    return {**row, "done": row["status"] != "running"}


def epochs(
    folder: TrialFolder, config: RunConfig, grace_epochs: int, raw: RawImages | None = None
) -> Iterator[dict[str, Any]]:
    """The trial's rows, from the epoch after the newest checkpoint on; an exception becomes a row.

    raw: the data set's images, if they are loaded already.
    """
    from codeq.data import load_data  # imports torch, which the driver must not
    from codeq.train.device import prepare_device
    from codeq.train.loop import fit
    from codeq.train.trial_run import ended_row, failed_row, open_run, save_epoch

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    row = dict(EMPTY_METRICS)
    try:
        data = None if raw is None else load_data(config, prepare_device(config.device, config.threads), raw)
        state = open_run(folder, config, data)
        if ended := ended_row(folder):
            yield ended
            return
        for epoch_row in fit(state, grace_epochs):
            yield (row := save_epoch(folder, state, epoch_row))
    except Exception as error:  # any exception ends only this trial, not the sweep
        yield failed_row(folder, row, error)


@cache
def _pack(name: str) -> Any:
    """The pack's handle, looked up once per process."""
    return ray.get_actor(name)


class FusedTrial(tune.Trainable):
    """One trial as a Ray actor, for Tune's schedulers and the dashboard; its pack, another actor, trains it.

    When the pack's process dies, the trial joins the restarted pack, which continues from the trial's checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `trial_config`."""
        self._config = config
        self._pack = _pack(config["pack"])
        self._joined = False
        self._rows: list[dict[str, Any]] = []  # received, not reported yet
        self._epoch: int | None = None  # of the last row, None before the first one

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in this process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The row of the next epoch; the same keys every time."""
        if not self._rows:
            self._rows = self._receive()
        row = self._rows.pop(0)
        self._epoch = row["epoch"]
        return report_of(row)

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)

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
