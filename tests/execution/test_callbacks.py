"""How a trial's end is recorded and passed on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from upath import UPath

from codeq.config import RunConfig
from codeq.config.metrics import REPORTED
from codeq.config.sweep import SweepConfig
from codeq.execution.callbacks import FreeStatistics, TrialRecorder
from codeq.execution.row_feed import TrackerFeed
from codeq.execution.trial import FAILED
from codeq.results.trials import load_trials
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import EMPTY_METRICS, ROW_KEYS, Row, TrialFolder, TrialRecord, trial_folder
from codeq.train.tracking import Tracker


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return trial_folder(UPath(tmp_path), 3)


def row(epoch: int, val_acc: float = 50.0) -> Row:
    return {"epoch": epoch, **dict.fromkeys(REPORTED, 0.0), "val_acc": val_acc}


class Told(Tracker):
    """Keeps the ends that it is told."""

    def __init__(self) -> None:
        self.ends: list[Any] = []

    def finish(self, key: int, status: str, reason: str = "") -> None:
        self.ends.append((key, status, reason))


@pytest.fixture
def trial(folder: TrialFolder, tiny: dict[str, Any], tmp_path: Path) -> Any:
    """A trial as Tune has it after its second epoch."""
    folder.write_config(RunConfig.model_validate(tiny))
    folder.write_record(TrialRecord(3, "run", 0))
    for epoch in (1, 2):
        folder.append_row({**row(epoch), "status": "running", "reason": ""})
    last = {**row(2), "status": "running", "reason": ""}
    config = {"folder": str(folder.path), "trial": 3, "place": {}, "epochs": 4}
    return SimpleNamespace(config=config, trial_id="id", last_result=last, local_path=tmp_path)


@pytest.mark.parametrize(
    ("last", "report", "status", "reason"),
    [
        ({"status": "running", "reason": ""}, None, "stopped", "asha at epoch 2"),
        ({"status": "finished", "reason": ""}, None, "finished", ""),
        ({"status": "diverged", "reason": "loss is nan"}, None, "diverged", "loss is nan"),
        ({}, "ray.Error: The GPU fell off the bus\n", "failed", "The GPU fell off the bus"),
        ({}, "", "failed", "its process died"),
    ],
)
def test_search_record_tracker_and_results_have_the_same_end(
    trial: Any, folder: TrialFolder, tmp_path: Path, last: Row, report: str | None, status: str, reason: str
) -> None:
    trial.last_result |= {**last, "config": {"images": object()}, "time_total_s": 1.0}  # Tune adds such keys
    (tmp_path / "error.txt").write_text(report or "")
    told: list[tuple[str, TrialEnd, str]] = []

    def tell(trial_id: str, end: TrialEnd) -> None:
        record = folder.read_record()
        assert record is not None
        told.append((trial_id, end, record.status))  # recorded before it is told

    tracker = Told()
    seen: list[tuple[str, TrialEnd, float, int]] = []
    recorder = TrialRecorder(SweepConfig(), lambda *end: seen.append(end), print, tell)
    for callback in (recorder, TrackerFeed(tracker, tmp_path)):
        (callback.on_trial_complete if report is None else callback.on_trial_error)(1, [], trial)
    ((trial_id, end, recorded),) = told
    assert (trial_id, end.status, end.reason, end.row["epoch"], recorded) == ("id", status, reason, 2, status)
    assert tracker.ends == [(3, status, reason)]
    assert seen == [("0003", end, 0.0, 4)]
    record = folder.read_record()
    assert record is not None and record.last_row is not None and set(record.last_row) <= set(ROW_KEYS)
    (result,) = load_trials(UPath(tmp_path))
    shown = result.as_row()
    assert (shown["status"], shown["reason"], shown["epoch"]) == (status, reason, 2)
    assert TrialEnd.recorded(folder) == TrialEnd(status, reason, {**EMPTY_METRICS, **result.row})  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_process_that_died_came_as_far_as_its_rows_whatever_it_reported(
    trial: Any, folder: TrialFolder, tmp_path: Path, epochs: int
) -> None:
    folder.drop_rows_after(epochs)
    trial.last_result = None  # it died before it could report them
    told: list[TrialEnd] = []
    recorder = TrialRecorder(SweepConfig(), lambda *end: None, print, lambda trial_id, end: told.append(end))
    recorder.on_trial_error(1, [], trial)
    expected = folder.rows()[-1] if epochs else EMPTY_METRICS
    assert told == [TrialEnd("failed", "its process died", {**EMPTY_METRICS, **expected})]
    assert [result.as_row()["epoch"] for result in load_trials(UPath(tmp_path))] == [epochs]


def test_a_trial_that_goes_on_has_no_end(trial: Any, folder: TrialFolder) -> None:
    assert TrialEnd.recorded(folder) is None


DIED = """\
Failure # 1 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Worker exit detail: There are some potential root causes. (1) The
process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called.
"""
KILLED = """\
Failure # 2 (occurred at 2026-01-01_00-00-01)
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1, ID: b3b61ead) was \
2.00GB used / 23.54GB limit (0.084817)
OOM kill reason: Memory usage 2135691264B exceeded threshold of 505530208B (2.0% of 25276510208B limit)
"""


def test_a_process_that_died_goes_on_and_one_that_ray_killed_for_memory_does_not(
    trial: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = TrialRecorder(SweepConfig(), lambda *end: None, print)
    (tmp_path / "error.txt").write_text(DIED)
    recorder.on_trial_recover(1, [], trial)
    assert FAILED not in trial.config
    assert caplog.messages == ["trial 0003: its process has died, it goes on from its checkpoint"]
    (tmp_path / "error.txt").write_text(DIED + KILLED)
    recorder.on_trial_recover(1, [], trial)
    assert trial.config[FAILED].startswith("out of memory: a smaller batch_size")
    assert trial.config[FAILED].endswith(" (Ray killed its process at 2.00GB used / 23.54GB limit)")
    assert len(caplog.messages) == 1


FAULT = """\
Failure # {} (occurred at 2026-01-01_00-00-02)
ray.exceptions.RayTaskError(MachineFault): ray::SweepTrial.train() (pid=1, ip=10.0.0.2)
codeq.storage.machine_fault.MachineFault: node n2 does not find in /x what the driver wrote there
"""


def test_a_fault_of_the_machine_is_told_at_each_attempt_and_ends_no_trial(
    trial: Any, folder: TrialFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[str] = []
    recorder = TrialRecorder(SweepConfig(), lambda *end: None, faults.append)
    (tmp_path / "error.txt").write_text(DIED + FAULT.format(2))
    recorder.on_trial_recover(1, [], trial)
    fault = "node n2 does not find in /x what the driver wrote there"
    assert caplog.messages == [f"trial 0003: {fault}; it is tried again"] and faults == []
    recorder.on_trial_error(1, [], trial)
    assert faults == [fault] and TrialEnd.recorded(folder) is None


def test_a_fault_that_has_passed_does_not_excuse_what_came_after_it(
    trial: Any, folder: TrialFolder, tmp_path: Path
) -> None:
    faults: list[str] = []
    (tmp_path / "error.txt").write_text(FAULT.format(1) + DIED.replace("# 1", "# 2"))
    TrialRecorder(SweepConfig(), lambda *end: None, faults.append).on_trial_error(1, [], trial)
    ended = TrialEnd.recorded(folder)
    assert faults == [] and ended is not None and ended.status == "failed"


def test_a_process_that_ray_killed_for_memory_at_its_last_attempt_is_told_so(trial: Any, tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text(KILLED)
    told: list[TrialEnd] = []
    TrialRecorder(SweepConfig(), lambda *end: None, print, lambda _, end: told.append(end)).on_trial_error(1, [], trial)
    assert told[0].status == "failed" and told[0].reason.startswith("out of memory: a smaller batch_size")


def test_an_ended_trial_keeps_its_last_report_and_no_statistics(tmp_path: Path) -> None:
    trial = Trial("any", stub=True, storage=StorageContext(str(tmp_path), "tune"))
    trial.update_last_result({**row(2), "training_iteration": 2})
    assert trial.metric_analysis["val_acc"]["avg"] == 50.0  # what is freed is where Tune keeps it
    for end in (FreeStatistics().on_trial_complete, FreeStatistics().on_trial_error):
        end(0, [trial], trial)
        assert not trial.metric_analysis and not trial.metric_n_steps
    assert trial.last_result["val_acc"] == 50.0
