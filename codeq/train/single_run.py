"""A single training run: the loop with a checkpoint, a metrics file, log lines and a W&B run."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from codeq.config.metrics import MAIN, describe_row
from codeq.config.run import RunConfig
from codeq.config.text import first_line, pluralize
from codeq.storage.atomic_files import write_atomically
from codeq.storage.trial_folder import parse_row
from codeq.train.checkpoint import CheckpointDamaged, load_checkpoint, save_checkpoint
from codeq.train.loop import EpochMetrics, TrainState, evaluate, fit
from codeq.train.tracking import open_tracker

log = logging.getLogger(__name__)


def train_single(state: TrainState, grace_epochs: int) -> EpochMetrics | None:
    """Train to the end, or until the run diverges or collapses; returns the last row.

    Writes SAVE_DIR/checkpoint_RUNNAME.th and SAVE_DIR/metrics_RUNNAME.jsonl after every epoch, and keeps the checkpoint
    before the newest until it has finished. Returns None if all epochs had been completed before.
    """
    config = state.config
    log.info("%s on %s: %d training images of %s, %d epochs", config.run_name, state.device,
             state.data.train.num_images, config.dataset.name, config.epochs)  # fmt: skip
    _drop_rows_after(state)
    row = _train(state, grace_epochs) if state.epoch < config.epochs else None
    if row is None or row.status == "finished":
        _previous(checkpoint_path(config)).unlink(missing_ok=True)
        log.info("test_acc %.2f", evaluate(state, state.data.test))
    return row


def _train(state: TrainState, grace_epochs: int) -> EpochMetrics:
    """Train the epochs that are left, at least one; the tracker's run ends as the training does."""
    config = state.config
    tracker = open_tracker(config.wandb_project, Path(config.save_dir))
    memory = Path(config.save_dir) / f"wandb_{config.run_name}.json"
    if state.epoch == 0:
        memory.unlink(missing_ok=True)  # another run than the one before
        _previous(checkpoint_path(config)).unlink(missing_ok=True)
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


def resume_single(path: Path, state: TrainState) -> None:
    """Load the checkpoint at `path` into `state`, or, if it is damaged, the one that was kept from the epoch before.

    Raises CheckpointError if neither can be used.
    """
    try:
        load_checkpoint(path, state)
        log.info("resumed %s after epoch %d", path, state.epoch)
    except CheckpointDamaged as error:
        if not _previous(path).exists():
            raise CheckpointDamaged(f"{error}; without --resume it trains from the first epoch") from None
        load_checkpoint(_previous(path), state)
        log.warning("%s; goes on after epoch %d, from %s", error, state.epoch, _previous(path))


def _previous(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"previous_{checkpoint.name}")


def _metrics_path(config: RunConfig) -> Path:
    return Path(config.save_dir) / f"metrics_{config.run_name}.jsonl"


def _drop_rows_after(state: TrainState) -> None:
    """Create the metrics file, or cut it after the completed epochs; raises early if it cannot be written."""
    path = _metrics_path(state.config)
    lines = path.read_bytes().splitlines() if path.exists() else []
    rows = [row for line in lines if (row := parse_row(line)) is not None]
    if len(rows) < len(lines):
        log.warning("%s: %s left out", path, pluralize(len(lines) - len(rows), "damaged line"))
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows if row["epoch"] <= state.epoch))


def _save(state: TrainState, row: EpochMetrics) -> None:
    with _metrics_path(state.config).open("a") as file:
        file.write(json.dumps(row.as_dict()) + "\n")
    if row.status != "diverged":  # a checkpoint with NaN weights would replace the last usable one
        path = checkpoint_path(state.config)
        if row.epoch > 1 and path.exists():
            shutil.copyfile(path, _previous(path))  # not renamed: one of the two is always whole
        save_checkpoint(path, state)


def _log_row(row: EpochMetrics, epochs: int) -> None:
    metrics = describe_row(row.as_dict(), ["loss", "train_acc", *MAIN])
    log.info("epoch %d/%d  %s  %.1f s", row.epoch, epochs, metrics, row.epoch_s)
