"""Tune's events become lines of the log."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from upath import UPath

from codeq.config import RunConfig
from codeq.execution.progress.feed import ProgressFeed
from codeq.execution.progress.state import SweepProgress
from codeq.execution.progress.terminal import Terminal, Verbosity
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import EMPTY_METRICS, trial_folder
from tests.execution.progress.conftest import row

METRICS = "val_acc  97.50  sparsity 0.9000  rel_bops 0.0512  mean_bits  4.00"


@pytest.fixture
def trial(tiny: dict[str, Any], tmp_path: Path) -> Any:
    folder = trial_folder(UPath(tmp_path), 12)
    folder.write_config(RunConfig.model_validate(tiny))
    return SimpleNamespace(config={"folder": str(folder.path), "trial": 12, "epochs": tiny["epochs"]})


def logged(caplog: pytest.LogCaptureFixture, progress: SweepProgress, verbosity: Verbosity, trial: Any) -> list[str]:
    """The lines of a trial of two epochs, which then fails."""
    caplog.set_level(logging.INFO, "codeq.execution")
    feed = ProgressFeed(progress, Terminal(verbosity))
    feed.on_trial_start(0, [], trial)
    rows = [row(1, 97.5, 0.9), row(2, 97.5, 0.9), {**row(2, 97.5, 0.9), "status": "failed"}]
    for each in rows:
        feed.on_trial_result(0, [], trial, each)
    feed.end("0012", TrialEnd("failed", "out of memory", rows[-1]), 12.34, 4)
    return caplog.messages


def test_a_trial_is_a_line(caplog: pytest.LogCaptureFixture, progress: SweepProgress, trial: Any) -> None:
    line = f"trial 0012  failed     epoch 2/4      {METRICS}   12.3 s  out of memory"
    assert logged(caplog, progress, "normal", trial) == [line]
    view = progress.snapshot(now=8.0)
    assert view.counts["failed"] == 2 and "0012" not in [trial.name for trial in view.running]


def test_at_the_most_verbose_each_epoch_is_a_line(
    caplog: pytest.LogCaptureFixture, progress: SweepProgress, trial: Any
) -> None:
    lines = logged(caplog, progress, "verbose", trial)
    assert lines[:-1] == [f"trial 0012  epoch 1     {METRICS}", f"trial 0012  epoch 2     {METRICS}"]


def test_a_trial_without_an_epoch_has_no_metrics(caplog: pytest.LogCaptureFixture, progress: SweepProgress) -> None:
    caplog.set_level(logging.INFO, "codeq.execution")
    feed = ProgressFeed(progress, Terminal())
    feed.end("0012", TrialEnd("diverged", "loss is nan", EMPTY_METRICS), 1.0, 4)
    assert caplog.messages == ["trial 0012  diverged   epoch 0/4        1.0 s  loss is nan"]


def test_on_a_terminal_the_line_is_short_and_breaks_between_its_parts(
    caplog: pytest.LogCaptureFixture, progress: SweepProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "codeq.execution")
    for width in (80, 40):
        monkeypatch.setattr(Terminal, "line_width", width)
        ProgressFeed(progress, Terminal()).end("0012", TrialEnd("finished", "", row(4, 97.5, 0.9)), 12.34, 4)
    assert caplog.messages == [
        "trial 0012  finished   epoch 4/4      val_acc  97.50  sparsity 0.9000   12.3 s",
        "trial 0012  finished  epoch 4/4\n  val_acc  97.50  sparsity 0.9000\n  12.3 s",
    ]
