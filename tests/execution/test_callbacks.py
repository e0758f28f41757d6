"""What TensorBoard shows of a trial whose driver or process was lost, or that failed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from upath import UPath

from codeq.config.metrics import REPORTED
from codeq.execution.callbacks import TensorBoardWriter
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialFolder, trial_folder


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return trial_folder(UPath(tmp_path), 3)


def row(epoch: int, val_acc: float = 50.0) -> Row:
    return {"epoch": epoch, **dict.fromkeys(REPORTED, 0.0), "val_acc": val_acc}


def reported(tmp_path: Path, *rows: Row) -> None:
    """One driver hears these rows of the trial, then ends."""
    driver = TensorBoardWriter(tmp_path)
    trial: Any = SimpleNamespace(config={"folder": str(trial_folder(UPath(tmp_path), 3).path)})
    for each in rows:
        driver.on_trial_result(0, [], trial, each)
    driver.on_trial_complete(0, [], trial)


def shown(folder: TrialFolder) -> list[tuple[int, float]]:
    """Steps and values of `val_acc` as TensorBoard reads them."""
    events = EventAccumulator(str(folder.path)).Reload()
    return [(event.step, event.value) for event in events.Scalars("val_acc")]


def test_an_epoch_that_is_trained_again_after_a_resume_stands_there_once(tmp_path: Path, folder: TrialFolder) -> None:
    reported(tmp_path, row(1), row(2), row(3))
    reported(tmp_path, row(3, 60.0), row(4, 60.0))
    assert shown(folder) == [(1, 50.0), (2, 50.0), (3, 60.0), (4, 60.0)]


def test_epochs_that_no_driver_heard_of_are_filled_in(tmp_path: Path, folder: TrialFolder) -> None:
    for epoch in (1, 2, 3, 4):
        folder.append_row(row(epoch))
    reported(tmp_path, row(1), row(2))
    reported(tmp_path, row(5), row(7))
    assert [step for step, _ in shown(folder)] == [1, 2, 3, 4, 5, 7]


def test_a_failed_trial_shows_its_last_epoch_once(tmp_path: Path, folder: TrialFolder) -> None:
    reported(tmp_path, row(1), row(2), {**row(2), "status": "failed"})
    assert [step for step, _ in shown(folder)] == [1, 2]


def test_a_trial_that_fails_before_it_goes_on_keeps_its_curve(tmp_path: Path, folder: TrialFolder) -> None:
    reported(tmp_path, row(1), row(2))
    reported(tmp_path, {**EMPTY_METRICS, "status": "failed"})
    assert [step for step, _ in shown(folder)] == [1, 2]
