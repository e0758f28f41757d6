"""Tune callbacks that hand each row of each trial on: to TensorBoard's event files and to the tracker (W&B)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from upath import UPath

from codeq.config.metrics import finite_metrics
from codeq.config.text import yaml_text
from codeq.execution.trial import folder_name
from codeq.storage.trial_folder import Row, TrialFolder
from codeq.train.tracking import Tracker


class RowFeed(Callback):
    """Base class: each row of a trial once, those before it first that this driver has not received."""

    def __init__(self, sweep_folder: Path) -> None:
        """sweep_folder: a local folder, even if the trials' folders are behind a URL."""
        self._sweep_folder = sweep_folder
        self._last: dict[str, int] = {}  # the last epoch of each trial

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks into an unused snapshot, and files and threads cannot be pickled."""
        return {}

    def local_folder(self, trial: Trial) -> Path:
        """The trial's folder on this machine."""
        return self._sweep_folder.joinpath(*PurePosixPath(trial.config["folder"]).parts[-2:])

    def new_rows(self, trial: Trial, row: Row) -> list[Row]:
        """The rows up to this one that have not been returned yet.

        A trial trains ahead of its reports, so rows can be lost when its process dies or the sweep is interrupted.
        """
        folder = trial.config["folder"]
        last = self._last.get(folder, 0)
        if row["epoch"] <= last:  # a trial that failed repeats its last row
            return []
        self._last[folder] = row["epoch"]
        between = TrialFolder(UPath(folder)).rows() if row["epoch"] > last + 1 else []
        return [*(recorded for recorded in between if last < recorded["epoch"] < row["epoch"]), row]

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the trial as one that has ended by itself."""
        self.on_trial_complete(iteration, trials, trial)


class TensorBoardWriter(RowFeed):
    """Writes each trial's metrics and drawn values as TensorBoard events into its local folder."""

    def __init__(self, sweep_folder: Path) -> None:
        super().__init__(sweep_folder)
        self._writers: dict[str, EventFileWriter] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Write the row, after earlier rows that no driver has received."""
        is_first = trial.config["folder"] not in self._writers
        for row in self.new_rows(trial, result):
            if is_first:
                # Makes TensorBoard discard events of this and later epochs that an interrupted sweep has written.
                self._add(trial, row["epoch"], session_log=SessionLog(status=SessionLog.START))
                is_first = False
            values = [Summary.Value(tag=name, simple_value=value) for name, value in finite_metrics(row).items()]
            self._add(trial, row["epoch"], summary=Summary(value=values))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Write how the trial ended, as `TrialRecorder` has recorded it, and close the file."""
        if record := TrialFolder(UPath(trial.config["folder"])).read_record():
            ended_well = record.status in ("finished", "stopped")
            end = SessionEndInfo(status=STATUS_SUCCESS if ended_well else STATUS_FAILURE)
            self._add(trial, 0, summary=_hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end))
        if (writer := self._writers.pop(trial.config["folder"], None)) is not None:
            writer.close()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close the files that an interrupt left open."""
        for writer in self._writers.values():
            writer.close()

    def _add(self, trial: Trial, step: int, **content: Any) -> None:
        """Add an event to the trial's file, which begins with the drawn values."""
        folder = trial.config["folder"]
        if folder not in self._writers:
            self._writers[folder] = EventFileWriter(str(self.local_folder(trial)), flush_secs=5)
            if record := TrialFolder(UPath(folder)).read_record():
                start = _session_start({**record.parameters, "seed": record.seed})
                self._add(trial, 0, summary=_hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start))
        self._writers[folder].add_event(Event(wall_time=time.time(), step=step, **content))


def _session_start(values: Mapping[str, Any]) -> SessionStartInfo:
    """The values of a trial's row on TensorBoard's HPARAMS tab."""
    start = SessionStartInfo()
    for name, value in values.items():
        shown = yaml_text(value)
        setattr(start.hparams[name], "string_value" if isinstance(shown, str) else "number_value", shown)
    return start


def _hparams(tag: str, **content: Any) -> Summary:
    """A summary for TensorBoard's HPARAMS tab."""
    described = metadata.create_summary_metadata(HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])


class TrackerFeed(RowFeed):
    """Feeds the tracker (W&B) one run per trial."""

    def __init__(self, tracker: Tracker, sweep_folder: Path) -> None:
        super().__init__(sweep_folder)
        self._tracker = tracker
        self._open: set[int] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Begin the trial's run; it continues over a restart after a lost process."""
        number = trial.config["trial"]
        if number not in self._open:
            self._open.add(number)
            config = TrialFolder(UPath(trial.config["folder"])).read_config()
            values = {**config.as_dict(), **trial.config["place"]}
            name = f"{folder_name(trial.config)}_{config.run_name}"
            self._tracker.start(number, name, values, self.local_folder(trial) / "wandb.json")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Log the row, after earlier rows that no driver has received."""
        for row in self.new_rows(trial, result):
            self._tracker.log(trial.config["trial"], row)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the run as `TrialRecorder` has recorded it."""
        self.on_trial_start(iteration, trials, trial)  # a trial whose process never started is shown too
        if record := TrialFolder(UPath(trial.config["folder"])).read_record():
            self._tracker.finish(record.trial, record.status, record.reason)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """End the runs of the trials that an interrupt left unfinished."""
        self._tracker.finish_all()
