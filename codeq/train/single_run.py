"""One training run by itself: the loop with its checkpoint, its metrics file, its log lines and its W&B run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from codeq.config.run import RunConfig
from codeq.storage.atomic_files import write_atomically
from codeq.train.checkpoint import save_checkpoint
from codeq.train.loop import EpochMetrics, TrainState, evaluate, fit
from codeq.train.tracking import open_tracker

log = logging.getLogger(__name__)


def train_single(state: TrainState, grace_epochs: int) -> EpochMetrics | None:
    """Train to the end, or until the run diverges or collapses; returns the last row.

    Leaves SAVE_DIR/checkpoint_RUNNAME.th and SAVE_DIR/metrics_RUNNAME.jsonl after every epoch. Returns None if all
    epochs had been completed before.
    """
    config = state.config
    log.info("%s on %s: %d training images of %s, %d epochs", config.run_name, state.device,
             state.data.train.num_images, config.dataset.name, config.epochs)  # fmt: skip
    _drop_rows_after(state)
    tracker = open_tracker(config.wandb_project, Path(config.save_dir))
    tracker.start(0, config.run_name, config.as_dict())
    row = None
    try:
        for row in fit(state, grace_epochs):
            _save(state, row)
            tracker.log(0, row.as_dict())
            _log_row(row, config.epochs)
    finally:
        tracker.finish(0, row.status if row else "failed", row.reason if row else "")
        tracker.close()
    if row is None or row.status == "finished":
        log.info("test_acc %.2f", evaluate(state, state.data.test))
    return row


def checkpoint_path(config: RunConfig) -> Path:
    """Where a single run leaves its checkpoint."""
    return Path(config.save_dir) / f"checkpoint_{config.run_name}.th"


def _metrics_path(config: RunConfig) -> Path:
    return Path(config.save_dir) / f"metrics_{config.run_name}.jsonl"


def _drop_rows_after(state: TrainState) -> None:
    """Begin the metrics file, or go on with it after the epochs that are completed; tells early if it cannot be."""
    path = _metrics_path(state.config)
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if json.loads(line)["epoch"] <= state.epoch]
    write_atomically(path, "".join(line + "\n" for line in kept))


def _save(state: TrainState, row: EpochMetrics) -> None:
    with _metrics_path(state.config).open("a") as file:
        file.write(json.dumps(row.as_dict()) + "\n")
    if row.status != "diverged":  # NaN weights would replace the last good ones
        save_checkpoint(checkpoint_path(state.config), state)


def _log_row(row: EpochMetrics, epochs: int) -> None:
    log.info(
        "epoch %d/%d  loss %.4f  train_acc %.2f  val_acc %.2f  sparsity %.4f  rel_bops %.4f  bits %.2f  %.1f s",
        row.epoch, epochs, row.loss, row.train_acc, row.val_acc, row.sparsity, row.rel_bops, row.mean_bits, row.epoch_s,
    )  # fmt: skip
