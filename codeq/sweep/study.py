"""The Optuna study of a sweep: its storage, its directions, its sampler, and how distributions are asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.samplers import BaseSampler, BruteForceSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, Uniform
from codeq.config.sweep import Search, SweepConfig
from codeq.train.trial_folder import StateDamaged, TrialRecord

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


def suggest(trial: optuna.Trial, name: str, distribution: Distribution) -> Any:
    """The sampler's value for the parameter `name`; a Choice gives one of its labels."""
    match distribution:
        case Uniform(low=low, high=high, step=step):
            return trial.suggest_float(name, low, high, step=step)
        case LogUniform(low=low, high=high):
            return trial.suggest_float(name, low, high, log=True)
        case Int(low=low_int, high=high_int, step=step_int, log=log):
            return trial.suggest_int(name, low_int, high_int, step=step_int, log=log)
        case Choice(labels=labels):
            return trial.suggest_categorical(name, labels)


def build_sampler(search: Search, trials_before: int = 0) -> BaseSampler:
    """The configured sampler, seeded. TPE models the parameters of each choice as a group of their own.

    trials_before: trials that the study holds already. They are mixed into the seed, or a resumed sweep would draw
    its first trials again.
    """
    if trials_before and search.sampler != "grid":
        mixed = int(np.random.SeedSequence((search.seed, trials_before)).generate_state(1)[0])
        search = search.model_copy(update={"seed": mixed})
    match search.sampler:
        case "tpe":
            return TPESampler(seed=search.seed, n_startup_trials=search.startup_trials, multivariate=True, group=True)
        case "nsga2":
            return NSGAIISampler(seed=search.seed, population_size=search.startup_trials)
        case "gp":
            return GPSampler(seed=search.seed, n_startup_trials=search.startup_trials)
        case "random":
            return RandomSampler(seed=search.seed)
        case "grid":
            return _GridSampler(seed=search.seed)


class _GridSampler(BruteForceSampler):
    """Every combination once, nested choices included. Whoever asks knows how many there are and stops in time."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: Optuna's own calls Study.stop here, which is an error for whoever asks and tells."""


def study_url(sweep: SweepConfig, folder: Path) -> str:
    """Where the study is stored: `sweep.study`, or a SQLite file in the sweep's folder."""
    if sweep.study is not None:
        return sweep.study
    return f"sqlite:///{(folder / 'study.db').absolute()}"


def open_study(sweep: SweepConfig, folder: Path) -> optuna.Study:
    """The sweep's study, created with the configs to try first if it is new.

    Raises StateDamaged if the storage cannot be used or holds a study with other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # metric names and TPE's groups
    logging.getLogger("alembic").setLevel(logging.WARNING)
    url = study_url(sweep, folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes that create SQLite's tables at once crash each other.
    try:
        with FileLock(str(folder / ".study.lock")):
            return _open(url, sweep)
    except (SQLAlchemyError, ValueError, ImportError) as error:
        where = "sweep.study" if sweep.study else str(folder / "study.db")
        raise StateDamaged(f"{where}: cannot be used: {str(error).partition(chr(10))[0]}") from None


def reconcile(study: optuna.Study, records: Iterable[TrialRecord], where: str) -> None:
    """Make the study agree with the trials' folders after a driver was killed between one and the other.

    A trial that was asked for and never written down is forgotten, but an enqueued one is tried again. Raises
    StateDamaged if the study lacks trials that have folders: their numbers would be given away a second time.
    """
    stored = study.get_trials(deepcopy=False)
    known = {record.trial for record in records}
    if known and max(known) >= len(stored):
        reason = "the study lacks trials that have folders; put it back, or start another sweep with --name NAME"
        raise StateDamaged(f"{where}: {reason}")
    for trial in stored:
        if trial.state is TrialState.RUNNING and trial.number not in known:
            study.tell(trial.number, state=TrialState.FAIL)
            if fixed := trial.system_attrs.get("fixed_params"):
                study.enqueue_trial(fixed)


def _open(url: str, sweep: SweepConfig) -> optuna.Study:
    directions = [_DIRECTIONS[direction] for direction in sweep.objectives.values()]
    study = optuna.create_study(
        storage=url, study_name=sweep.name, directions=directions, load_if_exists=True,
    )  # fmt: skip
    if study.directions != directions:
        raise ValueError(f"its directions are {[d.name for d in study.directions]}, not {[d.name for d in directions]}")
    trials = study.get_trials(deepcopy=False)
    study.sampler = build_sampler(sweep.search, len(trials))
    study.set_metric_names(list(sweep.objectives))
    if not trials:
        for values in sweep.enqueue:
            study.enqueue_trial(values)
    return study
