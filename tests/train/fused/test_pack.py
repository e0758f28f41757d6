"""A process full of runs: who trains with whom, and what failures cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from upath import UPath

from codeq.config import RunConfig
from codeq.data import DataSplits, load_data
from codeq.storage.trial_folder import trial_folder
from codeq.train.fused import pack as pack_module
from codeq.train.fused.pack import Member, Pack
from codeq.train.loop import TrainState
from codeq.train.trial_run import save_epoch
from tests.train.fused.conftest import Changes, changed

MakePack = Callable[..., Pack]
Members = Callable[..., list[Member]]


@pytest.fixture
def make_pack(tmp_path: Path) -> MakePack:
    def make(fuse: int | None = 4, max_failures: int = 1) -> Pack:
        return Pack(fuse=fuse, grace_epochs=5, max_failures=max_failures, journal=tmp_path / "journal.json")

    return make


@pytest.fixture
def members(tiny: dict[str, Any], tmp_path: Path) -> Members:
    def make(each: list[Changes]) -> list[Member]:
        return [
            Member(number, trial_folder(UPath(tmp_path), number), changed(tiny, changes))
            for number, changes in enumerate(each)
        ]

    return make


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each joint epoch trained."""
    sizes: list[int] = []
    train = pack_module.train_together

    def record(states: list[TrainState], grace_epochs: int) -> Any:
        sizes.append(len(states))
        return train(states, grace_epochs)

    monkeypatch.setattr(pack_module, "train_together", record)
    return sizes


def epochs_of(pack: Pack, members: list[Member], epochs: int) -> list[dict[int, dict[str, Any]]]:
    return [dict(pack.train_epoch(members)) for _ in range(epochs)]


def test_runs_of_one_shape_train_together_and_others_by_themselves(
    make_pack: MakePack, members: Members, together: list[int]
) -> None:
    found = epochs_of(make_pack(), members([{"seed": 1}, {"seed": 2}, {"batch_size": 64}]), 1)
    assert sorted(found[0]) == [0, 1, 2]
    assert together == [2]


def test_more_runs_than_fit_are_split_evenly(make_pack: MakePack, members: Members, together: list[int]) -> None:
    epochs_of(make_pack(fuse=4), members([{"seed": seed} for seed in range(6)]), 1)
    assert together == [3, 3]


def test_one_run_at_a_time_is_the_solo_path(make_pack: MakePack, members: Members, together: list[int]) -> None:
    epochs_of(make_pack(fuse=1), members([{"seed": 1}, {"seed": 2}]), 1)
    assert together == []


def test_each_run_trains_with_its_own_number_of_threads(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[int | None, int] = {}

    def record(folder: Any, state: TrainState, row: Any) -> dict[str, Any]:
        threads[state.config.threads] = torch.get_num_threads()
        return save_epoch(folder, state, row)

    monkeypatch.setattr(pack_module, "save_epoch", record)
    each: list[Changes] = [{"threads": 1}, {"threads": 1, "seed": 2}, {"threads": 2}]
    epochs_of(make_pack(), members([{"batch_size": 1024, **changes} for changes in each]), 2)
    torch.set_num_threads(1)
    assert threads == {1: 1, 2: 2}


def test_runs_that_read_the_same_images_share_one_copy_of_them(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []

    def load(config: RunConfig, *arguments: Any) -> DataSplits:
        loaded.append(config.batch_size)
        return load_data(config, *arguments)

    monkeypatch.setattr(pack_module, "load_data", load)
    each: list[Changes] = [{"quantizer": None}, {"optimizer.type": "adam", "seed": 2}, {"loss_terms": []}]
    epochs_of(make_pack(fuse=1), members([*each, {"batch_size": 64}]), 1)
    assert loaded == [128, 64]


def test_rows_and_checkpoints_are_in_the_trials_folders(make_pack: MakePack, members: Members) -> None:
    runs = members([{"seed": 1}, {"seed": 2, "epochs": 2}])
    found = epochs_of(make_pack(), runs, 2)
    for number, run in enumerate(runs):
        assert run.folder.rows() == [rows[number] for rows in found]
        assert run.folder.checkpoint.exists()
    assert [found[1][number]["status"] for number in (0, 1)] == ["running", "finished"]


def test_a_new_pack_goes_on_where_the_last_one_was(make_pack: MakePack, members: Members) -> None:
    each: list[Changes] = [{"seed": 1}, {"seed": 2}]
    expected = epochs_of(make_pack(), members(each), 3)
    for run in members(each):
        (run.folder.path / "checkpoint.th").unlink()
        (run.folder.path / "metrics.jsonl").unlink()
    begun = epochs_of(make_pack(), members(each), 1)
    continued = epochs_of(make_pack(), members(each), 2)
    times = {"epoch_s", "images_per_s"}
    plain = [[{k: v for k, v in rows[n].items() if k not in times} for n in rows] for rows in expected]
    assert [[{k: v for k, v in rows[n].items() if k not in times} for n in rows] for rows in begun + continued] == plain


def test_a_run_that_had_ended_reports_its_last_row_again(make_pack: MakePack, members: Members) -> None:
    (run,) = members([{"epochs": 1}])
    (expected,) = epochs_of(make_pack(), [run], 1)
    (again,) = members([{"epochs": 1}])
    assert epochs_of(make_pack(), [again], 1) == [expected]


def test_a_run_that_cannot_be_built_fails_alone(make_pack: MakePack, members: Members) -> None:
    runs = members([{"seed": 1}, {"model": "timm/no_such_model"}])
    (rows,) = epochs_of(make_pack(), runs, 1)
    assert rows[0]["status"] == "running"
    assert rows[1]["status"] == "failed"
    assert "no_such_model" in rows[1]["reason"]
    assert "Traceback" in (runs[1].folder.path / "error.txt").read_text()


def test_a_run_whose_files_cannot_be_written_fails_alone(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(folder: Any, state: TrainState, row: Any) -> dict[str, Any]:
        if state.config.seed == 2:
            raise OSError("No space left on device")
        return save_epoch(folder, state, row)

    monkeypatch.setattr(pack_module, "save_epoch", keep)
    (rows,) = epochs_of(make_pack(), members([{"seed": 1}, {"seed": 2}]), 1)
    assert [rows[number]["status"] for number in (0, 1)] == ["running", "failed"]
    assert rows[1]["reason"] == "OSError: No space left on device"


def test_when_memory_does_not_suffice_half_as_many_train_together(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, sizes = pack_module.train_together, []

    def limited(states: list[TrainState], grace_epochs: int) -> Any:
        sizes.append(len(states))
        if len(states) > 2:
            raise RuntimeError("out of memory")
        return train(states, grace_epochs)

    monkeypatch.setattr(pack_module, "train_together", limited)
    pack, runs = make_pack(), members([{"seed": seed} for seed in range(4)])
    (rows,) = epochs_of(pack, runs, 1)
    assert [row["status"] for row in rows.values()] == ["running"] * 4
    assert sizes == [4, 2, 2]
    epochs_of(pack, runs, 1)
    assert sizes[3:] == [2, 2]


class Killed(BaseException):
    """Stands for the end of the process."""


def die_while_training(monkeypatch: pytest.MonkeyPatch, pack: Pack, runs: list[Member]) -> None:
    with monkeypatch.context() as patch:
        for name in ("train_together", "fit"):
            patch.setattr(pack_module, name, lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            epochs_of(pack, runs, 1)


def test_whoever_trained_when_the_process_died_trains_alone_and_fails_in_the_end(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch, together: list[int]
) -> None:
    each: list[Changes] = [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    die_while_training(monkeypatch, make_pack(max_failures=1), members(each)[:1])
    epochs_of(make_pack(max_failures=1), members(each), 1)
    assert together == [2]
    die_while_training(monkeypatch, make_pack(max_failures=1), members(each)[:1])
    (rows,) = epochs_of(make_pack(max_failures=1), members(each), 1)
    assert [rows[number]["status"] for number in range(3)] == ["failed", "running", "running"]
    assert rows[0]["reason"] == "its process died 2 times"


def test_a_pack_in_which_nobody_died_leaves_no_journal(make_pack: MakePack, members: Members, tmp_path: Path) -> None:
    epochs_of(make_pack(), members([{"seed": 1}]), 1)
    assert not (tmp_path / "journal.json").exists()


def test_a_lost_device_ends_the_process(
    make_pack: MakePack, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AcceleratorError(RuntimeError):
        pass

    def lose(*_: Any) -> Any:
        raise AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(pack_module, "train_together", lose)
    with pytest.raises(AcceleratorError):
        epochs_of(make_pack(), members([{"seed": 1}, {"seed": 2}]), 1)
