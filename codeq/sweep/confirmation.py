"""Train winners again with fresh seeds: the same trials on the same workers, and nobody stops them early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codeq.sweep.session import Session
from codeq.sweep.state import SweepState
from codeq.sweep.trial_config import trial_config
from codeq.train.trial_folder import TrialRecord, confirm_folder, trial_folder


def train_again(state: SweepState, session: Session, runs: Sequence[tuple[int, int]]) -> None:
    """Train each (trial, seed) of `runs` to its end in a folder of its own, on from its checkpoint if there is one.

    Raises StateDamaged for trials that cannot be read, and what `Session.start` raises.
    """
    session.start()
    # Ray reads its environment when it is imported: not before start.
    from codeq.sweep.callbacks import TensorBoardWriter, TrialRecorder
    from codeq.sweep.early_stopping import StartAll
    from codeq.sweep.given_trials import GivenTrials
    from codeq.sweep.trainable import SweepTrial

    sweep = state.template.sweep
    session.tune(
        SweepTrial,
        {"cpu": sweep.resources.cpu, "gpu": session.gpus},
        searcher=GivenTrials([_prepared(state, session, number, seed) for number, seed in runs]),
        scheduler=StartAll(),  # type: ignore[no-untyped-call]
        callbacks=[TrialRecorder(sweep.scheduler), TensorBoardWriter(state.local)],
        trials=len(runs),
    )


def _prepared(state: SweepState, session: Session, number: int, seed: int) -> dict[str, Any]:
    """The run's config for Tune, after its folder has been made."""
    folder = confirm_folder(state.folder, number, seed)
    config = trial_folder(state.folder, number).read_config().model_copy(update={"seed": seed})
    if folder.read_record() is None:
        folder.write_config(config)
        folder.write_record(TrialRecord(number, config.run_name, seed))
    return trial_config(folder, number, config, state.template.sweep, device=session.device, images=session.images)
