"""The trial's own life, without Ray: rows, exceptions as rows, coming back from its folder."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from upath import UPath

from codeq.config import RunConfig
from codeq.config.metrics import REPORTED
from codeq.data import limits, load
from codeq.execution.trial import FAILED, SweepTrial, epochs
from codeq.results.trials import write_rows
from codeq.storage.driver_lock import driver_lock
from codeq.storage.machine_fault import MachineFault
from codeq.storage.trial_folder import Row, TrialFolder, trial_folder

TIMES = {"epoch_s", "images_per_s"}
CHECKPOINTS = ("checkpoint.th", "checkpoint_previous.th")


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

    def wrong(*arguments: Any) -> None:
        raise ValueError("wrong")

    monkeypatch.setattr(TrialFolder, "append_row", wrong)
    (row,) = running
    assert row == {**first, "status": "failed", "reason": "ValueError: wrong"}


def test_an_epoch_whose_checkpoint_could_not_be_written_is_the_failed_trials_last(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any) -> None:
        raise ValueError("wrong")

    monkeypatch.setattr("codeq.train.trial_run.save_checkpoint", wrong)
    (row,) = train(folder, tiny)
    (recorded,) = folder.rows()
    assert row == {**recorded, "status": "failed", "reason": "ValueError: wrong"}
    assert row["epoch"] == 1


def test_out_of_memory_ends_the_trial_alone_and_says_what_to_change(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = train(folder, tiny)
    first = next(running)

    def greedy(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 10.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr("codeq.train.step.TrainStep.__call__", greedy)
        (row,) = running
    why = "out of memory: a smaller batch_size, or fewer trials at a time (sweep.max_concurrent), needs less"
    assert row == {**first, "status": "failed", "reason": f"{why} (CUDA out of memory. Tried to allocate 2.00 GiB.)"}
    assert [row["epoch"] for row in train(trial_folder(UPath(tmp_path), 1), tiny)] == [1, 2, 3, 4]


def test_a_trial_whose_process_ray_killed_for_its_memory_is_not_trained_again(
    folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    first = next(train(folder, tiny))
    trial = SweepTrial.__new__(SweepTrial)
    trial.setup({"folder": str(folder.path), FAILED: "out of memory"})
    assert list(trial._rows) == [{**first, "status": "failed", "reason": "out of memory"}]


# Faults of the machine


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("what", ["append_row", "write_layers", "keep_previous_checkpoint"])
def test_a_fault_of_the_machine_ends_no_trial_and_names_the_path(
    folder: TrialFolder, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, number: int, what: str
) -> None:
    expected = plain(list(train(folder, tiny)))
    shutil.rmtree(str(folder.path))

    def fail(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number), str(folder.path / "file"))

    with monkeypatch.context() as patch:
        patch.setattr(TrialFolder, what, fail)
        with pytest.raises(MachineFault) as raised:
            list(train(folder, tiny))
    free = r" \([\d,.]+ [kMG]B free\)" if number in (errno.ENOSPC, errno.EDQUOT) else ""
    assert re.fullmatch(re.escape(f"{folder.path}/file: {os.strerror(number)}") + free, str(raised.value))
    assert not (folder.path / "error.txt").exists()
    list(train(folder, tiny))
    assert plain(folder.rows()) == expected


def test_the_worker_of_a_driver_that_another_has_replaced_writes_nothing(
    folder: TrialFolder, tiny: dict[str, Any], tmp_path: Path
) -> None:
    folder.write_config(RunConfig.model_validate(tiny))
    with driver_lock(UPath(tmp_path), tmp_path) as first:
        orphan = epochs(folder, {"device": "cpu"}, 5, token=first)
        next(orphan)
    with driver_lock(UPath(tmp_path), tmp_path) as second:
        before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
        with pytest.raises(MachineFault, match="another driver has taken over this sweep"):
            next(orphan)
        with pytest.raises(MachineFault, match="another driver has taken over this sweep"):
            next(epochs(folder, {"device": "cpu"}, 5, token=first))
        assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
        assert next(epochs(folder, {"device": "cpu"}, 5, token=second))["epoch"] == 2


def test_the_worker_of_a_node_that_ray_has_lost_sight_of_writes_nothing_once_another_trains_the_trial(
    folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    """The node is cut off from the cluster and not from the storage; the driver, and so its token, is the same."""
    folder.write_config(RunConfig.model_validate(tiny))
    lost, other = (epochs(folder, {"device": "cpu"}, 5) for _ in range(2))
    assert next(lost)["epoch"] == 1
    assert next(other)["epoch"] == 2
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with pytest.raises(MachineFault, match="another process trains this trial"):
        next(lost)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    assert [row["epoch"] for row in other] == [3, 4]


# Damage


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[: len(content) // 2], flip, lambda content: b"rubbish"]
)
@pytest.mark.parametrize(("damaged", "goes_on_after"), [(("checkpoint.th",), 1), (CHECKPOINTS, 0)])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(
    folder: TrialFolder,
    tiny: dict[str, Any],
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    damaged: tuple[str, ...],
    goes_on_after: int,
) -> None:
    expected = plain(list(train(trial_folder(UPath(tmp_path), 1), tiny)))
    first = train(folder, tiny)
    assert [next(first)["epoch"], next(first)["epoch"]] == [1, 2]
    for name in damaged:
        (folder.path / name).write_bytes(damage((folder.path / name).read_bytes()))
    rows = list(train(folder, tiny))
    assert rows[0]["reason"].startswith(f"{folder.checkpoint}: ")
    assert rows[0]["reason"].endswith(f"; goes on after epoch {goes_on_after}")
    assert all(row["reason"] == "" for row in rows[1:])
    found = [{**row, "reason": ""} for row in plain(folder.rows())]
    assert found == expected


@pytest.mark.parametrize(
    ("lines", "goes_on_after"),
    [
        ([0, 1], 2),
        ([0], 0),  # checkpoints of epochs 2 and 3
        ([1, 2], 0),
        ([], 0),
    ],
)
def test_rows_never_have_a_gap(
    folder: TrialFolder, tiny: dict[str, Any], tmp_path: Path, lines: list[int], goes_on_after: int
) -> None:
    expected = plain(list(train(trial_folder(UPath(tmp_path), 1), tiny)))
    first = train(folder, tiny)
    assert [next(first)["epoch"] for _ in range(3)] == [1, 2, 3]
    path = folder.path / "metrics.jsonl"
    kept = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line if number in lines else line[:20] + "\n" for number, line in enumerate(kept)))
    rows = list(train(folder, tiny))
    assert rows[0]["epoch"] == goes_on_after + 1
    assert "is missing; goes on after epoch" in rows[0]["reason"]
    assert [{**row, "reason": ""} for row in plain(folder.rows())] == expected
