"""Run a sweep from a checked template to its last trial, or to the signal that interrupts it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from codeq.config.sweep import parse_duration
from codeq.config.text import join_and, pluralize
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.execution.session import Session
from codeq.search.outcome import TrialEnd
from codeq.search.sweep_state import SweepState
from codeq.storage.trial_folder import from_each, trial_folders
from codeq.train.tracking import Tracker

log = logging.getLogger(__name__)

SHOW_EVERY_S = 30.0
STUDY_WAIT_S = 60.0
"""How long the end of a sweep waits for a study that cannot be used."""


def run_sweep(
    state: SweepState, session: Session, tracker: Tracker, show: Callable[[], object] = lambda: None
) -> None:
    """Train the sweep's trials; all results are in `state.folder`.

    tracker: gets a run per trial. show: called in a thread of its own every SHOW_EVERY_S seconds while trials train.
    Raises BadInput if the data set's files, the cluster or a trial's resources are not available.
    """
    budget = state.template.sweep.time_budget
    if state.warm_start:
        known = pluralize(len(state.warm_start), "trial")
        log.info("%s of %s to learn from", known, state.template.sweep.search.warm_start)
    if state.ended or state.unfinished:
        log.info("%s", _describe_progress(state))
    if state.remaining > 0:
        if state.template.missing_configs:
            log.info("%s", state.template.missing_configs)
        session.start()
        session.check_storage(state)
        session.show_study(state)
        began = time.monotonic()
        _tune(state, session, tracker, show)
        took = time.monotonic() - began
        if not session.is_interrupted and budget:
            state.note_unfinished(f"time budget of {budget}; --resume goes on")
            if state.remaining > 0 and took >= parse_duration(budget):
                trials = pluralize(int(state.template.sweep.trials or 1), "trial")
                left = f"{state.remaining} of {trials} not finished"
                log.info("The time budget of %s is over: %s; --resume goes on", budget, left)


def _describe_progress(state: SweepState) -> str:
    ended = f"trials that have ended: {state.ended}"
    if state.remaining <= 0 and state.ended >= state.template.config_count:
        return f"{ended}, all configs that can be drawn; wider ranges or more choices are another sweep: --name NAME"
    if state.remaining <= 0:
        return f"{ended}; --trials N with N above {state.ended} goes on"
    finish = min(state.unfinished, state.remaining)
    to_do = {"finish": finish, "begin": state.remaining - finish, "leave unfinished": state.unfinished - finish}
    return f"{ended}, {join_and(f'to {verb}: {number}' for verb, number in to_do.items() if number)}"


def _tune(state: SweepState, session: Session, tracker: Tracker, show: Callable[[], object]) -> None:
    """Run Tune to its end."""
    from codeq.execution.schedulers import build_scheduler
    from codeq.execution.searcher import OptunaSearcher
    from codeq.execution.trial import SweepTrial

    sweep = state.template.sweep
    searcher = OptunaSearcher(
        state.template, state.study, state.folder, state.warm_start, session.placement(state.token),
        shared=state.shared, drivers_before=state.drivers_before,
    )  # fmt: skip
    session.tune(
        SweepTrial,
        {"cpu": sweep.resources.cpu, "gpu": session.gpus},
        searcher=searcher,
        scheduler=build_scheduler(state.template, state.rows(), state.shared),
        callbacks=_callbacks(state, session, searcher.tell, tracker, show),
        trials=state.remaining,
        time_budget_s=parse_duration(sweep.time_budget) if sweep.time_budget else None,
    )
    if not searcher.store_ends(STUDY_WAIT_S):
        log.warning("the study lacks how the last trials ended; their folders have it, and --resume stores it")


def _callbacks(
    state: SweepState,
    session: Session,
    tell: Callable[[str, TrialEnd], None],
    tracker: Tracker,
    show: Callable[[], object],
) -> list[Any]:
    from codeq.execution.callbacks import Periodically, TrialRecorder
    from codeq.execution.progress.feed import ProgressFeed
    from codeq.execution.row_feed import TensorBoardWriter, TrackerFeed

    progress = _progress(state)
    feed = ProgressFeed(progress, session.terminal)
    session.terminal.show(progress)
    return [
        TrialRecorder(state.template.sweep, feed.end, session.stop_for, tell),
        feed,
        TensorBoardWriter(state.local),
        *([TrackerFeed(tracker, state.local)] if tracker.is_on else []),  # it reads each trial's config
        Periodically(show, SHOW_EVERY_S),
    ]


def _progress(state: SweepState) -> SweepProgress:
    """The progress of the sweep, with the trials that have ended before."""
    sweep = state.template.sweep
    progress = SweepProgress(str(sweep.name), EpochPlan.of(state.template), sweep.objectives, sweep.constraints)
    folders = trial_folders(state.folder) if state.ended else []
    for folder, end in zip(folders, from_each(folders, TrialEnd.recorded), strict=True):
        if end is not None:
            progress.end(folder.path.name, end, int(end.row["epoch"]))  # a finished one has trained all its epochs
    return progress
