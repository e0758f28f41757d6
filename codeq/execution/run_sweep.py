"""Run a sweep from a checked template to its last trial, or to the signal that interrupts it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeq.config.decisions import decision_epochs
from codeq.config.resources import trains_together
from codeq.config.sweep import parse_duration
from codeq.config.text import join_and, pluralize
from codeq.execution.cluster import trials_that_fit
from codeq.execution.session import Session
from codeq.search.sweep_state import SweepState
from codeq.train.tracking import open_tracker

if TYPE_CHECKING:
    from codeq.execution.packs import Packs
    from codeq.storage.trial_folder import TrialFolder


@dataclass(frozen=True)
class SweepEnd:
    """The workers after the search. packs: those that trained the trials, None: each trial had a process of its own."""

    packs: Packs | None = None

    @property
    def test_accuracy(self) -> Callable[[TrialFolder], float] | None:
        """Measures a trial's test accuracy in the pack that trained it; None if there are no packs."""
        return self.packs.test_accuracy if self.packs else None

    def release(self) -> None:
        """End the workers, which frees their devices."""
        if self.packs:
            self.packs.close()


def run_sweep(state: SweepState, session: Session) -> SweepEnd:
    """Train the sweep's trials; all results are in `state.folder`.

    Raises BadInput if the data set's files, the cluster or a trial's resources are not available.
    """
    packs, budget = None, state.template.sweep.time_budget
    if state.warm_start:
        known = pluralize(len(state.warm_start), "trial")
        print(f"{known} of {state.template.sweep.search.warm_start} to learn from", flush=True)
    if state.ended or state.unfinished:
        print(_describe_progress(state), flush=True)
    if state.remaining > 0:
        session.start()
        with tempfile.TemporaryDirectory(prefix="codeq-packs-") as journals:
            began = time.monotonic()
            packs = _tune(state, session, journals)
            took = time.monotonic() - began
        if session.interrupt_signal is None and budget:
            state.note_unfinished(f"time budget of {budget}; --resume goes on")
            if state.remaining > 0 and took >= parse_duration(budget):
                trials = pluralize(int(state.template.sweep.trials or 1), "trial")
                left = f"{state.remaining} of {trials} not finished"
                print(f"The time budget of {budget} is over: {left}; --resume goes on", flush=True)
    return SweepEnd(packs)


def _describe_progress(state: SweepState) -> str:
    ended = f"trials that have ended: {state.ended}"
    if state.remaining <= 0:
        return f"{ended}; --trials N with N above {state.ended} goes on"
    finish = min(state.unfinished, state.remaining)
    to_do = {"finish": finish, "begin": state.remaining - finish, "leave unfinished": state.unfinished - finish}
    return f"{ended}, {join_and(f'to {verb}: {number}' for verb, number in to_do.items() if number)}"


def _tune(state: SweepState, session: Session, journals: str) -> Packs | None:
    """Run Tune to its end; returns the packs, if any. journals: a folder for the packs' journals."""
    from codeq.execution.schedulers import build_scheduler
    from codeq.execution.searcher import OptunaSearcher
    from codeq.execution.trial import FUSED_TRIAL_BYTES, FusedTrial, SweepTrial

    sweep = state.template.sweep
    packs = _packs(state, session.options.address, session.gpus, journals)
    needs = {"memory": float(FUSED_TRIAL_BYTES)} if packs else {"cpu": sweep.resources.cpu, "gpu": session.gpus}
    session.tune(
        FusedTrial if packs else SweepTrial,
        needs,
        searcher=OptunaSearcher(
            state.template,
            state.study,
            state.folder,
            state.warm_start,
            device=session.device,
            packs=packs,
            images=session.images,
        ),
        scheduler=build_scheduler(state.template, state.rows()),
        callbacks=_callbacks(state),
        trials=state.remaining,
        time_budget_s=parse_duration(sweep.time_budget) if sweep.time_budget else None,
    )
    if packs:
        packs.flush_status()
        packs.stop()
    return packs


def _packs(state: SweepState, address: str | None, gpus: float, journals: str) -> Packs | None:
    """The packs that train the trials; None if each trial is to have a process of its own."""
    import ray

    from codeq.execution.pack_actor import PackOptions
    from codeq.execution.packs import DEFAULT_PLAN, Packs

    sweep, available = state.template.sweep, ray.cluster_resources()
    fuse = sweep.resources.fuse
    if not trains_together(state.template, gpus, state.remaining):
        return None
    options = PackOptions(
        name="",
        sweep_folder=str(state.folder),
        grace_epochs=sweep.scheduler.grace_epochs,
        max_failures=sweep.max_failures,
        journals=journals,
        decisions=decision_epochs(state.template),
        fuse=None if fuse == "auto" else fuse,
    )
    fitting = max(1, trials_that_fit(sweep.resources.cpu, gpus))
    # A cluster may scale up for packs that do not fit yet.
    limit = fitting if address is None else max(fitting, state.remaining // DEFAULT_PLAN.runs)
    return Packs(
        options,
        cpu=sweep.resources.cpu,
        gpu=gpus,
        limit=limit,
        trials=state.remaining,
        concurrent=sweep.max_concurrent,
        epochs=state.template.max_epochs,
        cores=int(available.get("CPU", 1.0)),
    )


def _callbacks(state: SweepState) -> list[Any]:
    from codeq.execution.callbacks import TensorBoardWriter, TrackerFeed, TrialRecorder

    sweep = state.template.sweep
    tracker = open_tracker(state.template.tree.get("wandb_project"), state.local / "wandb", group=sweep.name)
    return [TrialRecorder(sweep.scheduler), TensorBoardWriter(state.local), TrackerFeed(tracker)]
