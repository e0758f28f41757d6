"""The trial's own life, without Ray: rows, exceptions as rows, coming back from its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from upath import UPath

from codeq.config import RunConfig
from codeq.config.metrics import REPORTED
from codeq.data import limits, load
from codeq.execution.trial import epochs
from codeq.results.trials import write_rows
from codeq.storage.trial_folder import Row, TrialFolder, trial_folder

TIMES = {"epoch_s", "images_per_s"}


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return trial_folder(UPath(tmp_path), 0)


def train(folder: TrialFolder, tiny: dict[str, Any], **changes: Any) -> Iterator[Row]:
    if not (folder.path / "config.yaml").exists():
        folder.write_config(RunConfig.model_validate({**tiny, **changes}))
    return epochs(folder, {"device": "cpu"}, 5)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_rows_and_checkpoint_are_in_the_folder_before_they_are_reported(
    folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    for count, row in enumerate(train(folder, tiny), start=1):
        assert folder.rows()[-1] == row
        assert len(folder.rows()) == count
        assert folder.checkpoint.exists()


def test_a_trial_whose_process_died_goes_on_from_its_folder(
    folder: TrialFolder, tiny: dict[str, Any], tmp_path: Path
) -> None:
    expected = plain(list(train(trial_folder(UPath(tmp_path), 1), tiny)))
    first = train(folder, tiny)
    begun = [next(first), next(first)]
    folder.append_row({**begun[-1], "epoch": 3})  # it died between the row of epoch 3 and its checkpoint
    assert plain(begun + list(train(folder, tiny))) == expected
    assert plain(folder.rows()) == expected


def test_a_trial_that_had_ended_reports_its_last_row_again(folder: TrialFolder, tiny: dict[str, Any]) -> None:
    last = list(train(folder, tiny))[-1]
    assert list(train(folder, tiny)) == [last]
    assert len(folder.rows()) == 4


def test_an_exception_becomes_a_row_with_the_same_keys_and_a_traceback_in_the_folder(
    folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    (row,) = train(folder, tiny, model="timm/no_such_model")
    assert row["status"] == "failed"
    assert "no_such_model" in row["reason"] and "\n" not in row["reason"]
    assert set(row) == {"epoch", *REPORTED, "status", "reason"}
    assert row["epoch"] == 0 and math.isnan(row["val_acc"])
    assert "Traceback" in (folder.path / "error.txt").read_text()


def test_an_image_that_is_damaged_fails_the_trial_and_is_named(
    folder: TrialFolder, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (12, 12), (number, 20, 30)).save(tmp_path / "train" / name / f"{number}.png")
    damaged = tmp_path / "train" / "bee" / "caf\udce9.png"  # a name that is no text either
    damaged.write_bytes(b"no image")
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    monkeypatch.setattr(load, "STATISTICS_FILES", 1)
    data = {"dataset": "imagefolder", "data_dir": str(tmp_path), "img_size": 12, "batch_size": 4, "workers": 0}
    (row,) = train(folder, tiny, **data)
    assert (row["status"], row["epoch"]) == ("failed", 0)
    assert row["reason"].startswith(f"DataDamaged: {damaged}: not a readable image")
    assert "caf\\udce9.png" in (folder.path / "error.txt").read_text()
    write_rows(folder.path / "trials.csv", ["reason"], [row])
    assert "caf\\udce9.png" in (folder.path / "trials.csv").read_text()


def test_an_exception_in_a_later_epoch_keeps_the_last_metrics(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = train(folder, tiny)
    first = next(running)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrialFolder, "append_row", full)
    (row,) = running
    assert row == {**first, "status": "failed", "reason": "OSError: [Errno 28] No space left on device"}


def test_an_epoch_whose_checkpoint_could_not_be_written_is_the_failed_trials_last(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codeq.train.trial_run.save_checkpoint", full)
    (row,) = train(folder, tiny)
    (recorded,) = folder.rows()
    assert row == {**recorded, "status": "failed", "reason": "OSError: [Errno 28] No space left on device"}
    assert row["epoch"] == 1


def test_a_resumed_trial_that_fails_at_once_keeps_the_epochs_that_it_has(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(folder, tiny)
    before = [next(first), next(first)][-1]
    folder.checkpoint.write_bytes(b"rubbish")
    (row,) = train(folder, tiny)
    assert {**row, "status": "running", "reason": ""} == before and before["epoch"] == 2
    assert "not a readable checkpoint" in row["reason"]
