"""A single training run: the loop with a checkpoint, a metrics file, log lines and a W&B run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from codeq.config.metrics import MAIN, describe_row
from codeq.config.run import RunConfig
from codeq.config.text import first_line
from codeq.storage.atomic_files import write_atomically
from codeq.train.checkpoint import save_checkpoint
from codeq.train.loop import EpochMetrics, TrainState, evaluate, fit
from codeq.train.tracking import open_tracker

log = logging.getLogger(__name__)


def train_single(state: TrainState, grace_epochs: int) -> EpochMetrics | None:
    """Train to the end, or until the run diverges or collapses; returns the last row.

    Writes SAVE_DIR/checkpoint_RUNNAME.th and SAVE_DIR/metrics_RUNNAME.jsonl after every epoch. Returns None if all
    epochs had been completed before.
    """
    config = state.config
    log.info("%s on %s: %d training images of %s, %d epochs", config.run_name, state.device,
             state.data.train.num_images, config.dataset.name, config.epochs)  # fmt: skip
    _drop_rows_after(state)
    row = _train(state, grace_epochs) if state.epoch < config.epochs else None
    if row is None or row.status == "finished":
        log.info("test_acc %.2f", evaluate(state, state.data.test))
    return row


def _train(state: TrainState, grace_epochs: int) -> EpochMetrics:
    """Train the epochs that are left, at least one; the tracker's run ends as the training does."""
    config = state.config
    tracker = open_tracker(config.wandb_project, Path(config.save_dir))
    memory = Path(config.save_dir) / f"wandb_{config.run_name}.json"
    if state.epoch == 0:
        memory.unlink(missing_ok=True)  # another run than the one before
    tracker.start(0, config.run_name, config.as_dict(), memory)
    try:
        for row in fit(state, grace_epochs):
            _save(state, row)
            tracker.log(0, row.as_dict())
            _log_row(row, config.epochs)
        tracker.finish(0, row.status, row.reason)
        return row
    except KeyboardInterrupt:
        tracker.finish_all()
        raise
    except Exception as error:
        tracker.finish(0, "failed", f"{type(error).__name__}: {first_line(error)}")
        raise
    finally:
        tracker.close()


def checkpoint_path(config: RunConfig) -> Path:
    """Return the path of a single run's checkpoint."""
    return Path(config.save_dir) / f"checkpoint_{config.run_name}.th"


def _metrics_path(config: RunConfig) -> Path:
    return Path(config.save_dir) / f"metrics_{config.run_name}.jsonl"


def _drop_rows_after(state: TrainState) -> None:
    """Create the metrics file, or cut it after the completed epochs; raises early if it cannot be written."""
    path = _metrics_path(state.config)
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if json.loads(line)["epoch"] <= state.epoch]
    write_atomically(path, "".join(line + "\n" for line in kept))


def _save(state: TrainState, row: EpochMetrics) -> None:
    with _metrics_path(state.config).open("a") as file:
        file.write(json.dumps(row.as_dict()) + "\n")
    if row.status != "diverged":  # a checkpoint with NaN weights would replace the last usable one
        save_checkpoint(checkpoint_path(state.config), state)


def _log_row(row: EpochMetrics, epochs: int) -> None:
    metrics = describe_row(row.as_dict(), ["loss", "train_acc", *MAIN])
    log.info("epoch %d/%d  %s  %.1f s", row.epoch, epochs, metrics, row.epoch_s)
