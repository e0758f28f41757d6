"""A run that lives in a trial's folder: begun or continued there, kept after each epoch, tested in the end."""

from __future__ import annotations

import traceback
from typing import Any

from codeq.config.run import RunConfig
from codeq.data import DataSplits
from codeq.storage.trial_folder import TrialFolder
from codeq.train.checkpoint import load_checkpoint, save_checkpoint
from codeq.train.device import is_device_lost
from codeq.train.loop import EpochMetrics, TrainState, create_train_state, evaluate


def open_run(folder: TrialFolder, config: RunConfig, data: DataSplits | None = None) -> TrainState:
    """The run at its newest checkpoint, or at epoch 0; rows that no checkpoint was written for are forgotten.

    data: see `create_train_state`. Raises what `create_train_state` raises, CheckpointError and StateDamaged.
    """
    state = create_train_state(config, data)
    if folder.checkpoint.exists():
        load_checkpoint(folder.checkpoint, state)
    folder.drop_rows_after(state.epoch)
    return state


def ended_row(folder: TrialFolder) -> dict[str, Any] | None:
    """The run's last row, if it says that the run had ended: the driver may not have heard of it."""
    recorded = folder.rows()
    return recorded[-1] if recorded and recorded[-1]["status"] != "running" else None


def save_epoch(folder: TrialFolder, state: TrainState, row: EpochMetrics) -> dict[str, Any]:
    """Write the row, then the checkpoint; the row as plain data."""
    plain = row.as_dict()
    folder.append_row(plain)
    save_checkpoint(folder.checkpoint, state)
    return plain


def test_accuracy(folder: TrialFolder, data: DataSplits | None = None) -> float:
    """The accuracy in percent of the folder's newest checkpoint on the test images. Raises what `open_run` raises."""
    state = create_train_state(folder.read_config(), data)
    load_checkpoint(folder.checkpoint, state)
    return evaluate(state, state.data.test)


def failed_row(folder: TrialFolder, before: dict[str, Any], error: Exception) -> dict[str, Any]:
    """The last row of a run that raised `error`: the numbers of the row before, and the traceback in a file.

    Raises `error` again if the process's GPU is lost.
    """
    if is_device_lost(error):
        raise error
    folder.write_error("".join(traceback.format_exception(error)))
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return {**before, "status": "failed", "reason": reason}
