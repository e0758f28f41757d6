"""The winners: their test accuracy, read once at the end, and best.yaml, which trains again by itself."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from upath import UPath

import codeq
from codeq.config import Template
from codeq.config.document import to_yaml
from codeq.config.run import RunConfig
from codeq.results.trials import TrialResult
from codeq.train.files import write_atomically

log = logging.getLogger(__name__)


def with_test_accuracy(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials with `test_acc` measured from their final checkpoints."""
    return [replace(trial, test_acc=_test_accuracy(trial)) for trial in trials]


def _test_accuracy(trial: TrialResult) -> float | None:
    """None, with a line that says why, where it cannot be measured here: the other results must not be lost."""
    from codeq.train.checkpoint import CheckpointError, load_checkpoint  # torch, after the sweep
    from codeq.train.loop import build, evaluate

    try:
        state = build(trial.folder.read_config())
        load_checkpoint(trial.folder.checkpoint, state)
        return evaluate(state, state.data.test)
    except (CheckpointError, RuntimeError, ValueError, OSError) as error:
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
