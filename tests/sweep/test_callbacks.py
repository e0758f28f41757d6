"""What the driver leaves behind as trials report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from upath import UPath

from codeq.config.sweep import METRICS
from codeq.sweep.callbacks import TensorBoardWriter
from codeq.train.trial_folder import trial_folder

TRIAL: Any = SimpleNamespace(config={"folder": "somewhere/trials/0003"})


@pytest.fixture
def epochs_in_tensorboard(tmp_path: Path) -> Any:
    """What one driver writes about one trial, and the (step, value) of `val_acc` that TensorBoard shows afterwards."""

    def write(driver: TensorBoardWriter, *epochs: int, val_acc: float = 50.0) -> list[tuple[int, float]]:
        for epoch in epochs:
            row = {"epoch": epoch, **dict.fromkeys(METRICS, 0.0), "val_acc": val_acc}
            driver.on_trial_result(0, [], TRIAL, row)
        driver.on_trial_complete(0, [], TRIAL)
        folder = trial_folder(UPath(tmp_path), 3).path
        scalars = EventAccumulator(str(folder)).Reload().Scalars("val_acc")
        return [(event.step, event.value) for event in scalars]

    return write


def test_an_epoch_that_is_trained_again_after_a_resume_stands_in_tensorboard_once(
    tmp_path: Path, epochs_in_tensorboard: Any
) -> None:
    epochs_in_tensorboard(TensorBoardWriter(tmp_path), 1, 2, 3, val_acc=50.0)
    shown = epochs_in_tensorboard(TensorBoardWriter(tmp_path), 3, 4, val_acc=60.0)
    assert shown == [(1, 50.0), (2, 50.0), (3, 60.0), (4, 60.0)]
