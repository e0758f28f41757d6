"""What TensorBoard shows of a trial, and what the tracker is told, over interrupts and losses."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler as ExperimentHandler
from tensorboard.plugins.hparams.list_session_groups import Handler
from upath import UPath

from codeq.config import RunConfig
from codeq.config.metrics import REPORTED
from codeq.execution.row_feed import RowFeed, TensorBoardWriter, TrackerFeed
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialFolder, TrialRecord, TrialStatus, trial_folder
from codeq.train.tracking import Tracker


def row(epoch: int, val_acc: float = 50.0) -> Row:
    return {"epoch": epoch, **dict.fromkeys(REPORTED, 0.0), "val_acc": val_acc}


@pytest.fixture(autouse=True)
def seconds_between_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads a trial's files in the order of their names, which hold the second in which each was begun."""
    seconds = itertools.count(int(time.time()))
    clock = SimpleNamespace(time=lambda: next(seconds))
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time", clock)


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return trial_folder(UPath(tmp_path), 3)


def reported(driver: RowFeed, tmp_path: Path, *rows: Row, number: int = 3, ends: bool = True) -> None:
    """One driver receives these rows of the trial, then ends; unless `ends`, by an interrupt."""
    config = {"folder": str(trial_folder(UPath(tmp_path), number).path), "trial": number, "place": {}}
    trial: Any = SimpleNamespace(config=config)
    driver.on_trial_start(0, [], trial)
    for each in rows:
        driver.on_trial_result(0, [], trial, each)
    if ends:
        driver.on_trial_complete(0, [], trial)
    driver.on_experiment_end([trial])


def shown(folder: TrialFolder) -> list[tuple[int, float]]:
    """Steps and values of `val_acc` as TensorBoard reads them."""
    events = EventAccumulator(str(folder.path)).Reload()
    return [(event.step, event.value) for event in events.Scalars("val_acc")]


def test_an_epoch_that_is_trained_again_after_a_resume_stands_there_once(tmp_path: Path, folder: TrialFolder) -> None:
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), row(2), row(3), ends=False)
    reported(TensorBoardWriter(tmp_path), tmp_path, row(3, 60.0), row(4, 60.0))
    assert shown(folder) == [(1, 50.0), (2, 50.0), (3, 60.0), (4, 60.0)]


def test_epochs_that_no_driver_heard_of_are_filled_in(tmp_path: Path, folder: TrialFolder) -> None:
    for epoch in (1, 2, 3, 4):
        folder.append_row(row(epoch))
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), row(2))
    reported(TensorBoardWriter(tmp_path), tmp_path, row(5), row(7))
    assert [step for step, _ in shown(folder)] == [1, 2, 3, 4, 5, 7]


def test_a_failed_trial_shows_its_last_epoch_once(tmp_path: Path, folder: TrialFolder) -> None:
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), row(2), {**row(2), "status": "failed"})
    assert [step for step, _ in shown(folder)] == [1, 2]


def test_a_trial_that_fails_before_it_goes_on_keeps_its_curve(tmp_path: Path, folder: TrialFolder) -> None:
    folder.write_record(TrialRecord(3, "run", 0))
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), row(2))
    reported(TensorBoardWriter(tmp_path), tmp_path, {**EMPTY_METRICS, "status": "failed"})
    assert [step for step, _ in shown(folder)] == [1, 2]


def hparams_tab(logdir: Path) -> dict[str, tuple[dict[str, Any], dict[str, float], int]]:
    """Each trial's row of TensorBoard's HPARAMS tab, as its own plug-in computes it: drawn values, metrics, status."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(logdir))))
    request = RequestContext()
    experiment = ExperimentHandler(request, context, "", api_pb2.GetExperimentRequest()).run()
    columns = [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    wanted = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        col_params=columns,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_UNKNOWN],
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    groups = Handler(request, context, "", wanted).run().session_groups
    return {
        group.sessions[0].name: (
            {
                name: getattr(value, str(value.WhichOneof("kind")))
                for name, value in dict(group.hparams).items()
            },
            {value.name.tag: value.value for value in group.metric_values},
            group.sessions[0].status,
        )
        for group in groups
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("running", api_pb2.STATUS_UNKNOWN),
        ("finished", api_pb2.STATUS_SUCCESS),
        ("stopped", api_pb2.STATUS_SUCCESS),
        ("diverged", api_pb2.STATUS_FAILURE),
        ("collapsed", api_pb2.STATUS_FAILURE),
        ("failed", api_pb2.STATUS_FAILURE),
    ],
)
def test_the_hparams_tab_shows_drawn_values_final_metrics_and_status_over_a_resume(
    tmp_path: Path, folder: TrialFolder, status: TrialStatus, expected: int
) -> None:
    drawn = {"optimizer.param_groups.dz.lr": 0.25, "model": "mlp", "batch_size": 64, "quantizer": None, "amsgrad": True}
    folder.write_record(TrialRecord(3, "run", 7, drawn))
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), row(2), ends=False)
    folder.write_record(TrialRecord(3, "run", 7, drawn, status))
    reported(TensorBoardWriter(tmp_path), tmp_path, row(2, 60.0), row(3, 70.0), ends=status != "running")
    (name,) = tab = hparams_tab(tmp_path / "trials")
    values, metrics, ended = tab[name]
    assert name == "0003"
    assert values == {**drawn, "quantizer": "null", "amsgrad": "true", "seed": 7}
    assert metrics["val_acc"] == 70.0 and set(metrics) == set(REPORTED)
    assert ended == expected


def test_a_trial_without_an_epoch_is_on_the_hparams_tab_too(tmp_path: Path) -> None:
    for number in (0, 1):
        status: TrialStatus = "finished" if number else "failed"
        trial_folder(UPath(tmp_path), number).write_record(TrialRecord(number, "run", 0, {"lr": 1.0 + number}, status))
    reported(TensorBoardWriter(tmp_path), tmp_path, {**EMPTY_METRICS, "status": "failed"}, number=0)
    reported(TensorBoardWriter(tmp_path), tmp_path, row(1), number=1)
    tab = hparams_tab(tmp_path / "trials")
    assert {name: (values["lr"], status) for name, (values, _, status) in tab.items()} == {
        "0000": (1.0, api_pb2.STATUS_FAILURE),
        "0001": (2.0, api_pb2.STATUS_SUCCESS),
    }


class Told(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, key: int, name: str, config: dict[str, Any], memory: Path) -> None:
        self.calls.append(("start", key, name, memory))

    def log(self, key: int, row: dict[str, Any]) -> None:
        self.calls.append(("log", key, row["epoch"]))

    def finish(self, key: int, status: str, reason: str = "") -> None:
        self.calls.append(("finish", key, status, reason))

    def finish_all(self) -> None:
        self.calls.append(("finish all",))


def test_the_tracker_gets_the_rows_that_no_driver_heard_of_and_the_end(
    tmp_path: Path, folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    folder.write_config(RunConfig.model_validate(tiny))
    folder.write_record(TrialRecord(3, "run", 0, status="diverged", reason="loss is nan"))
    for epoch in (1, 2, 3):
        folder.append_row(row(epoch))
    tracker = Told()
    reported(TrackerFeed(tracker, tmp_path), tmp_path, row(3), row(4), {**row(4), "status": "failed"})
    assert tracker.calls == [
        ("start", 3, "0003_mlp_deadzone4b_e4_lr0.005", tmp_path / "trials" / "0003" / "wandb.json"),
        *(("log", 3, epoch) for epoch in (1, 2, 3, 4)),
        ("finish", 3, "diverged", "loss is nan"),
        ("finish all",),
    ]


def test_a_trial_whose_process_never_started_is_told_to_the_tracker(
    tmp_path: Path, folder: TrialFolder, tiny: dict[str, Any]
) -> None:
    folder.write_config(RunConfig.model_validate(tiny))
    folder.write_record(TrialRecord(3, "run", 0, status="failed", reason="its process died"))
    tracker = Told()
    config = {"folder": str(folder.path), "trial": 3, "place": {}}
    TrackerFeed(tracker, tmp_path).on_trial_error(0, [], SimpleNamespace(config=config))  # type: ignore[arg-type]
    assert [call[0] for call in tracker.calls] == ["start", "finish"]
