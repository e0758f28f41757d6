"""The Tune trial: a thin adapter that builds a run, restores it, iterates its epochs and reports their rows."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from upath import UPath

from codeq.config.run import RunConfig
from codeq.train.trial_folder import NO_ROW, Row, TrialFolder

if TYPE_CHECKING:
    from codeq.data import RawImages


class SweepTrial(tune.Trainable):
    """One trial as a Ray actor. Its folder, not Tune, keeps its rows and checkpoint: see `codeq.train.trial_folder`.

    A Python exception is a result like any other: a last row with status failed. Only a process that dies is started
    again by Tune, and finds its checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `codeq.sweep.trial_config`."""
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
