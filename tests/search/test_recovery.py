"""Damage to a sweep's files: what other files hold is restored, what they do not hold is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError
from upath import UPath

from codeq.config import Template
from codeq.execution.searcher import OptunaSearcher
from codeq.search.outcome import trial_end
from codeq.search.study import StudyUnavailable
from codeq.search.sweep_state import SweepState, open_sweep
from codeq.storage.trial_folder import (
    EMPTY_METRICS,
    StateDamaged,
    TrialRecord,
    confirm_folder,
    confirm_folders,
    trial_folder,
    trial_folders,
)
from tests.search.conftest import row

GARBAGE = (b"", b"\x00\xff\x13" * 200, b"{", b'{"no": 1}', b"[]")


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Template:
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}
    tiny["batch_size"] = {"distribution": "choice", "choices": [64, 128]}
    sweep = {"name": "s", "trials": 5, "storage": str(tmp_path), "constraints": {"val_acc": ">= 95"}}
    return Template.load(write_yaml({**tiny, "sweep": sweep}))


@pytest.fixture
def sweep(template: Template, tmp_path: Path) -> Path:
    """A sweep's folder with three trials that have ended, each in its way, and one that is unfinished."""
    with open_sweep(template, resume=False) as state:
        searcher = OptunaSearcher(template, state.study, state.folder)
        for number, status in enumerate(("finished", "stopped", "failed", "running")):
            searcher.suggest(f"id{number}")
            folder = trial_folder(state.folder, number)
            folder.append_row(row(epoch=1, status="running"))
            if status != "running":
                last = row(epoch=2, val_acc=90.0 + number, status="running" if status == "stopped" else status)
                folder.append_row(last)
                end = trial_end(last, template.sweep.scheduler)
                record = folder.read_record()
                assert record is not None
                ended = replace(record, status=end.status, reason=end.reason, duration_s=3.0, last_row=last)
                folder.write_record(ended)
                searcher.tell(f"id{number}", end)
    return tmp_path / "s"


def told(state: SweepState) -> list[Any]:
    """All that the study knows of its trials, but for the times."""
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.constraints,
         {name: value for name, value in t.user_attrs.items() if name != "key"})
        for t in state.study.get_trials(deepcopy=False)
    ]  # fmt: skip


@pytest.mark.parametrize("damage", [*GARBAGE, None])
def test_the_study_is_rebuilt_from_the_records(
    sweep: Path, template: Template, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sweep(template, resume=True) as state:
        before = told(state)
    database = sweep / "study.db"
    database.unlink() if damage is None else database.write_bytes(damage)
    with open_sweep(template, resume=True) as state:
        assert told(state) == before
        assert state.remaining == 2
        assert [trial.state for trial in state.study.trials] == [
            TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING,
        ]  # fmt: skip
    assert sum("rebuilt from 4 records" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("damage", [*GARBAGE, None])
def test_a_record_is_rebuilt_from_the_study(
    sweep: Path, template: Template, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = sweep / "trials" / "0001" / "trial.json"
    before = json.loads(path.read_text())
    path.unlink() if damage is None else path.write_bytes(damage)
    with open_sweep(template, resume=True):
        pass
    after = json.loads(path.read_text())
    last, lost = before.pop("last_row"), {"duration_s"}
    assert {key: after[key] for key in before if key not in lost} == {k: v for k, v in before.items() if k not in lost}
    assert after["last_row"]["val_acc"] == last["val_acc"] and after["last_row"]["epoch"] == last["epoch"]
    assert sum("trial.json" in message and "rebuilt" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("damage", GARBAGE)
def test_a_config_is_written_again_from_the_drawn_values(sweep: Path, template: Template, damage: bytes) -> None:
    for number in ("0000", "0003"):
        path = sweep / "trials" / number / "config.yaml"
        before = path.read_text()
        path.write_bytes(damage)
        with open_sweep(template, resume=True):
            pass
        assert path.read_text() == before


@pytest.mark.parametrize("changed", [("lr: 0.0", "lr: 0.1"), ("batch_size: ", "batch_size: 1"), ("seed: 0", "seed: 8")])
def test_a_config_with_a_changed_digit_is_written_again(
    sweep: Path, template: Template, changed: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint of an unfinished trial would be refused as one of another config, and the trial lost."""
    path = sweep / "trials" / "0003" / "config.yaml"
    before = path.read_text()
    path.write_text(before.replace(*changed, 1))
    assert path.read_text() != before
    with open_sweep(template, resume=True):
        pass
    assert path.read_text() == before
    assert "0003/config.yaml: damaged: its values are not those that were drawn; written again" in caplog.text


def test_what_a_user_puts_beside_the_trials_is_no_trial(sweep: Path, template: Template) -> None:
    shutil.copytree(sweep / "trials" / "0000", sweep / "trials" / "0000.bak")
    shutil.copytree(sweep / "trials" / "0000", sweep / "confirm" / "notes")
    with open_sweep(template, resume=True) as state:
        assert [folder.path.name for folder in trial_folders(state.folder)] == ["0000", "0001", "0002", "0003"]
        assert confirm_folders(state.folder) == []


@pytest.mark.parametrize("damage", GARBAGE)
@pytest.mark.parametrize("status", ["finished", "diverged", "running"])
def test_the_record_of_a_run_with_a_fresh_seed_is_rebuilt_from_its_rows(
    sweep: Path, template: Template, damage: bytes, status: str
) -> None:
    folder, last = confirm_folder(UPath(sweep), 0, 2), row(epoch=4, val_acc=91.0, status=status, reason="why")
    first = trial_folder(UPath(sweep), 0).read_record()
    assert first is not None
    folder.append_row(last)
    (folder.path / "trial.json").write_bytes(damage)
    with open_sweep(template, resume=True):
        pass
    ended = status != "running"
    assert folder.read_record() == TrialRecord(
        0, first.run_name, 2, status=status, reason="why" if ended else "",
        last_row={**EMPTY_METRICS, **last} if ended else None,
    )  # fmt: skip


@pytest.mark.parametrize("damage", [*GARBAGE, None])
def test_the_template_is_compared_with_its_copy_in_the_study(
    sweep: Path, template: Template, damage: bytes | None, write_yaml: Callable[..., Path]
) -> None:
    path = sweep / "template.yaml"
    before = path.read_text()
    path.unlink() if damage is None else path.write_bytes(damage)
    another = Template.load(template.source, ["epochs=9"])
    with pytest.raises(StateDamaged, match="epochs: is 9, was 4"), open_sweep(another, resume=True):
        pass
    with open_sweep(template, resume=True):
        pass
    assert path.read_text() == before


def test_what_no_other_file_holds_is_said_with_every_path(sweep: Path, template: Template) -> None:
    (sweep / "study.db").write_bytes(b"")
    (sweep / "trials" / "0001" / "trial.json").write_bytes(b"")
    with pytest.raises(StateDamaged) as raised, open_sweep(template, resume=True):
        pass
    study, record = str(raised.value).splitlines()
    assert "study.db: " in study and "restore it from a backup" in study and "0001/trial.json: damaged" in record
    assert [folder.path.name for folder in trial_folders(UPath(sweep))] == ["0000", "0001", "0002", "0003"]


def test_damaged_rows_do_not_change_a_result_that_was_recorded(
    sweep: Path, template: Template, caplog: pytest.LogCaptureFixture
) -> None:
    from codeq.results.trials import load_trials

    before = [trial.as_row() for trial in load_trials(UPath(sweep))]
    for number in ("0000", "0001", "0002"):
        path = sweep / "trials" / number / "metrics.jsonl"
        path.write_bytes(path.read_bytes()[:-40] + b"\n")
    assert [trial.as_row() for trial in load_trials(UPath(sweep))] == before
    assert sum("1 damaged line ignored" in message for message in caplog.messages) == 3


def test_a_study_that_another_program_has_locked_is_waited_for_and_not_rebuilt(
    sweep: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeq.search.study.SQLITE_TIMEOUT_S", 0.1)
    monkeypatch.setattr("codeq.search.study.LOCK_TIMEOUT_S", 0.1)
    other = sqlite3.connect(sweep / "study.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StudyUnavailable, match="locked"), open_sweep(template, resume=True):
        pass
    monkeypatch.setattr("codeq.search.study.LOCK_TIMEOUT_S", 60.0)
    ends = threading.Timer(0.5, other.execute, ["ROLLBACK"])
    ends.start()
    with open_sweep(template, resume=True) as state:
        assert state.ended == 3
    ends.join()
    other.close()
    assert not list(sweep.glob("*.damaged*"))


@pytest.mark.parametrize("said", ["database or disk is full", "disk I/O error"])
def test_a_full_disk_is_no_reason_to_lay_the_study_aside(
    sweep: Path, template: Template, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OperationalError("select", {}, sqlite3.OperationalError(said))

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("codeq.search.study._open_once", fail)
    with pytest.raises(OperationalError), open_sweep(template, resume=True):
        pass
    assert (sweep / "study.db").exists() == ("full" in said)  # the other one is what SQLite says of half a file, too


def test_a_study_that_is_damaged_while_trials_train_is_told_and_then_rebuilt(sweep: Path, template: Template) -> None:
    with pytest.raises(StateDamaged, match="the study is damaged: .*; the same command with --resume rebuilds it"):
        with open_sweep(template, resume=True) as state:
            searcher = OptunaSearcher(template, state.study, state.folder)
            searcher.suggest("the unfinished one")
            (sweep / "study.db").write_bytes(b"\x00\xff\x13" * 50_000)
            searcher.suggest("a new one")
    with open_sweep(template, resume=True) as state:
        assert state.ended == 3 and state.unfinished == 1


def test_a_disk_that_is_full_at_the_start_is_no_bad_input(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("codeq.storage.driver_lock.SoftFileLease.acquire", fail)
    with pytest.raises(OSError, match="No space left on device: '.*/s'"), open_sweep(template, resume=False):
        pass


def test_other_objectives_are_no_damage(sweep: Path, template: Template) -> None:
    before = (sweep / "study.db").read_bytes()
    another = Template.load(template.source, ["sweep.objectives={val_acc: max, rel_bops: min}"])
    said = "sweep.objectives.1: is 'rel_bops min', was 'sparsity max'"
    with pytest.raises(StateDamaged, match=said), open_sweep(another, resume=True):
        pass
    (sweep / "template.yaml").unlink()
    with pytest.raises(StateDamaged, match="its directions are"), open_sweep(another, resume=True):
        pass
    assert (sweep / "study.db").read_bytes() == before and not list(sweep.glob("*.damaged*"))
