"""The winners: their test accuracy, read once at the end, and best.yaml, which trains again by itself."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from upath import UPath

import codeq
from codeq.config import Template
from codeq.config.document import to_yaml
from codeq.config.run import RunConfig
from codeq.results.trials import TrialResult
from codeq.train.files import write_atomically
from codeq.train.trial_folder import TrialFolder

log = logging.getLogger(__name__)


TestAccuracy = Callable[[TrialFolder], float]


def test_accuracy_here(folder: TrialFolder) -> float:
    """The test accuracy of a trial's final checkpoint in percent, measured in this process."""
    from codeq.train.trial_run import test_accuracy  # torch, after the sweep

    return test_accuracy(folder)


def with_test_accuracy(trials: Sequence[TrialResult], measure: TestAccuracy) -> list[TrialResult]:
    """The trials with `test_acc` measured from their final checkpoints.

    None, with a line that says why, where it cannot be measured: the other results must not be lost.
    """
    return [replace(trial, test_acc=_measured(trial, measure)) for trial in trials]


def _measured(trial: TrialResult, measure: TestAccuracy) -> float | None:
    try:
        return measure(trial.folder)
    except Exception as error:  # whatever torch, Ray or the disk may raise
        log.warning("trial %d: test accuracy could not be measured: %s", trial.record.trial, error)
        return None


def write_best(path: UPath, winner: TrialResult, template: Template) -> None:
    """Write the winner's config with a header that says where it comes from and how to train it again."""
    config = winner.folder.read_config()
    header = "".join(f"# {line}\n" for line in _header(path, winner, config, template))
    scheduler = {"grace_epochs": template.sweep.scheduler.grace_epochs}  # before which nothing counts as collapsed
    write_atomically(path, header + to_yaml({**config.as_dict(), "sweep": {"scheduler": scheduler}}))


def _header(path: UPath, winner: TrialResult, config: RunConfig, template: Template) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    scores = ", ".join(f"{name} {winner.row[name]:.6g}" for name in ("val_acc", "sparsity", "rel_bops", "mean_bits"))
    test = "" if winner.test_acc is None else f", test_acc {winner.test_acc:.6g}"
    selected = "the test set (val_fraction is 0)" if config.val_fraction == 0 else "the validation split"
    return [
        f"Trial {winner.record.trial} of the sweep {template.sweep.name} ({template.source}), chosen on {selected}.",
        f"Scores after {winner.row['epoch']} epochs: {scores}{test}.",
        f"Seed {config.seed}. codeq-tune {codeq.__version__}, {packages}, Python {platform.python_version()}.",
        f"Train it again: python -m codeq.train {path}",
    ]
