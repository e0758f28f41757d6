"""Deletes the checkpoints of finished trials that no later step needs: see `sweep.keep_checkpoints`."""

from __future__ import annotations

from codeq.config.sweep import SweepConfig
from codeq.results.front import pareto_front
from codeq.results.sweep_result import SweepResult


def remove_unneeded_checkpoints(found: SweepResult, sweep: SweepConfig) -> None:
    """Keep the checkpoints of the front, with and without constraints, and delete those of other finished trials.

    Checkpoints of trials that ended otherwise are deleted when they end. Does nothing unless keep_checkpoints is front.
    """
    if sweep.keep_checkpoints != "front":
        return
    finished = [trial for trial in found.trials if trial.finished]
    needed = {trial.record.trial for trial in [*found.front, *pareto_front(finished, sweep.objectives)]}
    for trial in finished:
        if trial.record.trial not in needed:
            trial.folder.remove_checkpoints()
