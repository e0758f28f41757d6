"""The winners: their test accuracy, read once at the end, and best.yaml, which trains again by itself."""

from __future__ import annotations

import logging
import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from upath import UPath

import codeq
from codeq.config import Template
from codeq.config.document import to_yaml
from codeq.config.metrics import MAIN
from codeq.config.paths import escape_paths
from codeq.config.run import RunConfig
from codeq.config.text import join_and
from codeq.plugins import stored_plugins
from codeq.results.confirmation import Confirmed
from codeq.results.sweep_result import SweepResult
from codeq.results.trials import TrialResult
from codeq.storage.atomic_files import write_atomically
from codeq.storage.trial_folder import TrialFolder

log = logging.getLogger(__name__)

TestAccuracy = Callable[[TrialFolder], float]
MEASURED_BY = "codeq.train.trial_run"
"""The module that `test_accuracy_here` imports, torch with it: callers may import it earlier, in the background."""


def test_accuracy_here(folder: TrialFolder) -> float:
    """The test accuracy of a trial's final checkpoint in percent, measured in this process."""
    from codeq.train.trial_run import test_accuracy  # torch, after the sweep

    return test_accuracy(folder)


def with_test_accuracy(trials: Sequence[TrialResult], measure: TestAccuracy) -> list[TrialResult]:
    """The trials, the finished ones with `test_acc` measured from their final checkpoints if it is not stored.

    None if it cannot be measured, which must not lose the other results: without a checkpoint (`describe_untested`), or
    with a line that says why.
    """
    return [_measured(trial, measure) if trial.finished and trial.test_acc is None else trial for trial in trials]


def _measured(trial: TrialResult, measure: TestAccuracy) -> TrialResult:
    if not trial.folder.checkpoint.exists():
        return trial
    try:
        record = replace(trial.record, test_acc=measure(trial.folder))
        trial.folder.write_record(record)
    except Exception as error:  # whatever torch, Ray or the disk may raise
        log.warning("trial %d: test accuracy could not be measured: %s", trial.record.trial, error)
        return trial
    return replace(trial, record=record)


def describe_untested(found: SweepResult) -> str:
    """Return a line about the trials of the front without test accuracy and checkpoint, with the command that measures
    it; "" if there are none.

    Checkpoints are kept for one front: `--resume` with other constraints or objectives may find another.
    """
    lost = [trial for trial in found.front if trial.test_acc is None and not trial.folder.checkpoint.exists()]
    if not lost:
        return ""
    numbers = join_and(f"{trial.record.trial:04d}" for trial in lost)
    which = f"trial{'s' if len(lost) > 1 else ''} {numbers}"
    why = f"No test accuracy of {which}: checkpoints were kept for another front (sweep.keep_checkpoints)"
    return f"{why}. To measure it, train again: {train_command(lost[0].folder.path / 'config.yaml', lost[0].folder)}"


def train_command(config: UPath, trial: TrialFolder) -> str:
    """Return the command that trains the config of a trial, or of best.yaml, again."""
    plugins = "".join(f" --plugin {shlex.quote(str(plugin))}" for plugin in stored_plugins(trial.sweep_folder))
    return f"python -m codeq.train {shlex.quote(str(config))}{plugins}"


def write_best(path: UPath, winner: TrialResult, found: SweepResult, template: Template) -> None:
    """Write the winner's config with a header that says where it comes from and how to train it again."""
    config = winner.folder.read_config()
    header = "".join(f"# {line}\n" for line in _header(path, winner, found, config, template))
    scheduler = {"grace_epochs": template.sweep.scheduler.grace_epochs}  # before which nothing counts as collapsed
    write_atomically(path, header + to_yaml(escape_paths({**config.as_dict(), "sweep": {"scheduler": scheduler}})))


def _header(path: UPath, winner: TrialResult, found: SweepResult, config: RunConfig, template: Template) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    row = winner.as_row()
    scores = ", ".join(f"{name} {row[name]:.6g}" for name in MAIN if row[name] is not None)
    where = f"Trial {winner.record.trial} of the sweep {template.sweep.name} ({template.source})"
    return [
        f"{where}: {found.choice}, chosen on {found.selected_on}.",
        f"Scores after {winner.row['epoch']} epochs: {scores}.",
        *_confirmation(found.confirmation_of(winner)),
        f"Seed {config.seed}. codeq-tune {codeq.__version__}, {packages}, Python {platform.python_version()}.",
        f"Train it again: {train_command(path, winner.folder)}",
    ]


def _confirmation(confirmed: Confirmed | None) -> list[str]:
    if confirmed is None:
        return []
    if not confirmed.finished:
        return [f"With fresh seeds none of {len(confirmed.runs)} runs finished."]
    spreads = {name: spread for name in MAIN if (spread := confirmed.mean_std(name)) is not None}
    scores = ", ".join(f"{name} {spread:.4g}" for name, spread in spreads.items())
    seeds = ", ".join(map(str, confirmed.seeds))
    count = f"{len(confirmed.finished)} of {len(confirmed.runs)} runs with fresh seeds finished"
    return [f"{count} (seeds {seeds}), mean ± std: {scores}."]
