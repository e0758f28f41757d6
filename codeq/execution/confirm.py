"""Train winners again with fresh seeds, each to its end and in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.search import Searcher

from codeq.execution.callbacks import TrialRecorder
from codeq.execution.progress.feed import ProgressFeed
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.execution.row_feed import TensorBoardWriter
from codeq.execution.schedulers import NoStopping
from codeq.execution.session import Session
from codeq.execution.trial import SweepTrial, trial_config
from codeq.search.sweep_state import SweepState
from codeq.storage.trial_folder import TrialRecord, confirm_folder, trial_folder


def confirm(state: SweepState, session: Session, runs: Sequence[tuple[int, int]]) -> None:
    """Train each (trial, seed) of `runs` to its end in a folder of its own, from its checkpoint if there is one.

    Raises StateDamaged for trials that cannot be read. The session must be started.
    """
    sweep = state.template.sweep
    progress = SweepProgress("confirmation", EpochPlan(len(runs), state.template.max_epochs, rungs=()))
    feed = ProgressFeed(progress, session.terminal)
    session.terminal.show(progress)
    session.tune(
        SweepTrial,
        {"cpu": sweep.resources.cpu, "gpu": session.gpus},
        searcher=ListSearcher([_prepared(state, session, number, seed) for number, seed in runs]),
        scheduler=NoStopping(),  # type: ignore[no-untyped-call]
        callbacks=[TrialRecorder(sweep, feed.end, session.stop_for), feed, TensorBoardWriter(state.local)],
        trials=len(runs),
    )


def _prepared(state: SweepState, session: Session, number: int, seed: int) -> dict[str, Any]:
    """Create the run's folder, if it is new, and return its config for Tune."""
    folder = confirm_folder(state.folder, number, seed)
    config = trial_folder(state.folder, number).read_config().model_copy(update={"seed": seed})
    folder.write_config(config)  # again, too: it may be damaged
    if folder.read_record() is None:
        folder.write_record(TrialRecord(number, config.run_name, seed))
    return trial_config(folder, number, config, state.template.sweep, session.placement(state.token))


class ListSearcher(Searcher):
    """Proposes each of its configs once, in their order."""

    def __init__(self, configs: Iterable[dict[str, Any]]) -> None:
        """configs: see `trial_config`."""
        super().__init__()
        self._configs = iter(configs)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next config; None after the last."""
        return next(self._configs, None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: a list does not learn."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the folders of the runs are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""
