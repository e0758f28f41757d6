"""A trial's folder, local and behind a URL."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import RunConfig
from codeq.storage.trial_folder import Layer, TrialFolder, TrialRecord, from_each, trial_folder, trial_folders


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(tmp_path) if request.param == "local" else UPath(f"memory://{uuid.uuid4().hex}/sweep")


def test_config_record_and_rows_come_back_as_they_were_written(folder: UPath, tiny: dict[str, Any]) -> None:
    trial, config = trial_folder(folder, 7), RunConfig.model_validate(tiny)
    record = TrialRecord(7, "name", 3, {"a.b": 0.5, "model": "mlp"}, status="diverged", reason="loss is nan")
    trial.write_config(config)
    trial.write_record(record)
    trial.append_row({"epoch": 1, "loss": float("nan")})
    trial.append_row({"epoch": 2, "loss": 0.25})
    again = trial_folder(folder, 7)
    assert again.read_config() == config
    assert again.read_record() == record
    assert [row["epoch"] for row in again.rows()] == [1, 2]
    assert again.path.name == "0007"


def test_a_trial_from_before_norms_could_be_left_alone_quantizes_them(tmp_path: Path, tiny: dict[str, Any]) -> None:
    trial = trial_folder(UPath(tmp_path), 0)
    trial.write_config(RunConfig.model_validate(tiny))
    path = tmp_path / "trials" / "0000" / "config.yaml"
    path.write_text(path.read_text().replace("  quantize_norms: false\n", ""))
    quantizer = trial.read_config().quantizer
    assert quantizer is not None and quantizer.quantize_norms


def test_rows_after_the_checkpoint_are_dropped(folder: UPath) -> None:
    trial = trial_folder(folder, 0)
    for epoch in (1, 2, 3):
        trial.append_row({"epoch": epoch})
    trial.drop_rows_after(2)
    assert [row["epoch"] for row in trial.rows()] == [1, 2]


def test_half_a_row_left_by_a_crash_is_not_a_row(tmp_path: Path) -> None:
    trial = trial_folder(UPath(tmp_path), 0)
    trial.append_row({"epoch": 1})
    path = tmp_path / "trials" / "0000" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 2, "lo')
    assert [row["epoch"] for row in trial.rows()] == [1]
    trial.drop_rows_after(1)
    trial.append_row({"epoch": 2})
    assert [row["epoch"] for row in trial.rows()] == [1, 2]


def test_an_empty_folder_has_no_rows_and_no_record(folder: UPath) -> None:
    assert trial_folder(folder, 0).rows() == []
    assert trial_folder(folder, 0).read_record() is None
    assert trial_folders(folder) == []


def test_only_folders_with_a_record_are_trials(folder: UPath) -> None:
    for number in (3, 1):
        trial_folder(folder, number).write_record(TrialRecord(number, "run", 0))
    trial_folder(folder, 2).append_row({"epoch": 1})
    assert [trial.path.name for trial in trial_folders(folder)] == ["0001", "0003"]


def test_folders_behind_a_url_are_read_several_at_a_time_in_their_order() -> None:
    together = threading.Barrier(4, timeout=10)

    def read(folder: TrialFolder) -> str:
        together.wait()
        return folder.path.name

    folders = [trial_folder(UPath("memory://bucket/sweep"), number) for number in range(8)]
    assert from_each(folders, read) == [f"{number:04d}" for number in range(8)]


@pytest.mark.parametrize("damage", [b"", b"\x00\xff", b"{}", b'[{"name": 1}]'])
def test_damaged_layers_are_left_out(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The report goes without their plot."""
    folder = TrialFolder(UPath(tmp_path))
    folder.write_layers([Layer("fc", 0.5, 4.0, 1.0, 0.1)])
    assert folder.read_layers() == [Layer("fc", 0.5, 4.0, 1.0, 0.1)]
    (tmp_path / "layers.json").write_bytes(damage)
    assert folder.read_layers() == []
    assert "layers.json: damaged: " in caplog.text
