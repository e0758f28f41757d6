"""The trainable that Tune runs: one trial per process, which reads its run config from the trial's folder."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from upath import UPath

from codeq.config import RunConfig, SweepConfig
from codeq.execution.gauges import TrialGauges
from codeq.plugins import load_stored
from codeq.storage.driver_lock import check_token
from codeq.storage.machine_fault import MachineFault, machine_fault
from codeq.storage.trial_folder import TrialFolder

if TYPE_CHECKING:
    from codeq.data import RawImages

FAILED = "failed"
"""The key of a trial's Tune config for the reason why the loss of its process is its end, see `TrialRecorder`."""


@dataclass(frozen=True)
class Placement:
    """Where the trials of a driver run. device: overrides the configs' device; None: no override. images: references to
    data sets' raw images in Ray's object store, by `RunConfig.images_key`. token: the driver's, with which its workers
    may write, see `codeq.storage.driver_lock`; None: not checked.
    """

    device: str | None = None
    images: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None


def trial_config(
    folder: TrialFolder, number: int, config: RunConfig, sweep: SweepConfig, placement: Placement
) -> dict[str, Any]:
    """Return the Tune config of a trial: its folder, which contains its run config, where it runs, and what the driver
    shows of it."""
    place = {"data_dir": config.absolute_data_dir}  # a trial has another working directory
    return {
        "trial": number,
        "folder": str(folder.path),
        "place": place if placement.device is None else {**place, "device": placement.device},
        "images": placement.images.get(config.images_key),
        "epochs": config.epochs,
        "grace_epochs": sweep.scheduler.grace_epochs,
        "token": placement.token,
    }


def folder_name(config: dict[str, Any]) -> str:
    """Return the trial's name in tables and dashboards: `0003`, or `0003_seed1` with a fresh seed."""
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
        if reason := config.get(FAILED):
            self._rows = iter([{**self._folder.last_row(), "status": "failed", "reason": reason}])
        else:
            self._rows = epochs(self._folder, config["place"], config["grace_epochs"], images, config["token"])
        self._gauges = TrialGauges(self._folder.sweep_folder.name, folder_name(config))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in this process, which saves the imports; everything else is created again."""
        del self._rows
        gc.collect()  # the last trial's model has reference cycles
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and return the report to Tune: the row, whose keys are always the same, and `done`."""
        row = next(self._rows)
        self._gauges.set(row)
        return {**row, "done": row["status"] != "running"}

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)


def epochs(
    folder: TrialFolder,
    place: Mapping[str, str],
    grace_epochs: int,
    raw: RawImages | None = None,
    token: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Train the trial from its newest checkpoint and yield its rows; an exception gives a row with status failed.

    place: the keys of the run config that depend on this machine, with their values here. raw: the data set's images,
    if they are loaded already. token: see `Placement`. Raises MachineFault for a fault of the machine, after which
    the trial can go on.
    """
    from codeq.train.device import free_cached_memory  # imports torch, which the driver must not import
    from codeq.train.trial_run import failed_row

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        free_cached_memory()  # of the previous trial
        yield from _epochs(folder, place, grace_epochs, raw, token)
        return
    except Exception as error:  # an exception ends this trial, not the sweep
        if fault := machine_fault(error):
            raise MachineFault(fault) from error
        last = failed_row(folder, error)
    gc.collect()
    free_cached_memory()  # other trials may share the GPU
    yield last


def _epochs(
    folder: TrialFolder, place: Mapping[str, str], grace_epochs: int, raw: RawImages | None, token: str | None
) -> Iterator[dict[str, Any]]:
    """As `epochs`; raises what the training raises."""
    from codeq.data import load_data
    from codeq.train.device import prepare_device
    from codeq.train.loop import fit
    from codeq.train.trial_run import ended_row, open_run, save_epoch

    check_token(folder.sweep_folder, token)
    claim = folder.claim()
    load_stored(folder.sweep_folder)  # the config may use parts of plug-ins
    config = folder.read_config().model_copy(update=dict(place))
    data = None if raw is None else load_data(config, prepare_device(config.device, config.threads), raw)
    state, note = open_run(folder, config, data)
    if ended := ended_row(folder):
        yield ended
        return
    for epoch_row in fit(state, grace_epochs):
        check_token(folder.sweep_folder, token)
        folder.check_claim(claim)
        yield save_epoch(folder, state, epoch_row, note)
        note = ""
