"""What the runner says of trials that are there already."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codeq.config.sweep import SweepConfig
from codeq.execution import run_sweep
from codeq.execution.row_feed import TrackerFeed
from codeq.execution.run_sweep import _describe_progress
from codeq.train.tracking import Tracker
from codeq.train.wandb_tracker import WandbTracker


@pytest.mark.parametrize(
    ("ended", "unfinished", "trials", "said"),
    [
        (3, 0, 3, "trials that have ended: 3; --trials N with N above 3 goes on"),
        (24, 0, 12, "trials that have ended: 24; --trials N with N above 24 goes on"),
        (3, 4, 12, "trials that have ended: 3, to finish: 4 and to begin: 5"),
        (3, 4, 5, "trials that have ended: 3, to finish: 2 and to leave unfinished: 2"),
        (0, 1, 1, "trials that have ended: 0, to finish: 1"),
    ],
)
def test_a_sweep_that_goes_on_says_describe_progress_and_what_is_to_do(
    ended: int, unfinished: int, trials: int, said: str
) -> None:
    template = SimpleNamespace(config_count=math.inf)
    state: Any = SimpleNamespace(ended=ended, unfinished=unfinished, remaining=trials - ended, template=template)
    assert _describe_progress(state) == said


def test_a_sweep_that_has_tried_every_config_is_not_told_to_try_more() -> None:
    template = SimpleNamespace(config_count=9.0)
    state: Any = SimpleNamespace(ended=9, unfinished=0, remaining=0, template=template)
    assert _describe_progress(state) == (
        "trials that have ended: 9, all configs that can be drawn; wider ranges or more choices are another sweep: "
        "--name NAME"
    )


def test_a_trials_config_is_read_for_a_tracker_only_if_that_is_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class On(Tracker):
        is_on = True

    monkeypatch.setattr(run_sweep, "_progress", lambda state: SimpleNamespace(objectives={}))
    state: Any = SimpleNamespace(template=SimpleNamespace(sweep=SweepConfig()), local=tmp_path)
    session: Any = SimpleNamespace(terminal=SimpleNamespace(show=lambda progress: None), stop_for=print)
    for tracker in (Tracker(), On()):
        callbacks = run_sweep._callbacks(state, session, lambda key, end: None, tracker, lambda: None)
        assert any(isinstance(callback, TrackerFeed) for callback in callbacks) == tracker.is_on
    assert WandbTracker.is_on
