"""A run in a trial's folder: create or resume it, save each epoch, measure its test accuracy."""

from __future__ import annotations

import traceback
from typing import Any

from codeq.config.run import RunConfig
from codeq.data import DataSplits
from codeq.storage.out_of_memory import out_of_memory
from codeq.storage.trial_folder import TrialFolder
from codeq.train.checkpoint import CheckpointDamaged, load_checkpoint, save_checkpoint
from codeq.train.device import evaluation_device, is_device_lost
from codeq.train.loop import EpochMetrics, TrainState, create_train_state, evaluate


def open_run(folder: TrialFolder, config: RunConfig, data: DataSplits | None = None) -> tuple[TrainState, str]:
    """Return the run at its newest checkpoint that can be used, or at epoch 0, and why it is not the newest, or "".

    A checkpoint can be used if it is intact and every epoch up to it has its row; later rows are deleted.
    data: see `create_train_state`. Raises the exceptions of `create_train_state`, CheckpointError for a checkpoint of
    another config.
    """
    state, rows, note = create_train_state(config, data), folder.epochs_without_gap(), ""
    for path in (folder.checkpoint, folder.previous_checkpoint):
        if not path.exists():
            continue
        try:
            load_checkpoint(path, state)
        except CheckpointDamaged as error:
            note = note or str(error)
        else:
            if state.epoch <= rows:
                break
            note = note or f"{folder.path}: the row of epoch {rows + 1} is missing"
        state = create_train_state(config, data)
    folder.drop_rows_after(state.epoch)
    return state, f"{note}; goes on after epoch {state.epoch}" if note else ""


def ended_row(folder: TrialFolder) -> dict[str, Any] | None:
    """Return the last row if the run has ended, else None; the driver may not have received that row."""
    recorded = folder.rows()
    return recorded[-1] if recorded and recorded[-1]["status"] != "running" else None


def save_epoch(folder: TrialFolder, state: TrainState, row: EpochMetrics, note: str = "") -> dict[str, Any]:
    """Write the row, then the checkpoint; returns the row as plain data. The last one's layers are written too.

    note: the reason of a row that has none.
    """
    plain = row.as_dict()
    plain["reason"] = plain["reason"] or note
    if row.status == "finished" and state.compression is not None:
        folder.write_layers(state.compression.layers)
    folder.append_row(plain)
    folder.keep_previous_checkpoint()
    save_checkpoint(folder.checkpoint, state)
    return plain


def test_accuracy(folder: TrialFolder, data: DataSplits | None = None) -> float:
    """Return the test accuracy in percent of the folder's newest checkpoint. Raises the exceptions of `open_run`."""
    config = folder.read_config()
    state = create_train_state(config.model_copy(update={"device": evaluation_device(config.device)}), data)
    load_checkpoint(folder.checkpoint, state)
    return evaluate(state, state.data.test)


def failed_row(folder: TrialFolder, error: Exception) -> dict[str, Any]:
    """Return the last row of a run that raised `error`: the folder's last, as failed. Write the traceback to a file.

    Raises `error` again if this process can no longer use its GPU.
    """
    memory = out_of_memory(error)
    if is_device_lost(error) and memory is None:
        raise error
    folder.write_error("".join(traceback.format_exception(error)))
    reason = memory or f"{type(error).__name__}: {error}".partition("\n")[0]
    return {**folder.last_row(), "status": "failed", "reason": reason}
