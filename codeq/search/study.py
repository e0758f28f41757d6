"""The stored Optuna study of a sweep, for the dashboard and for --resume.

Its trials are those that have folders, under the same numbers. The sampler has a separate study
(`codeq.search.sampler_study`).
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from codeq.config.sweep import SweepConfig
from codeq.config.text import first_line, one_line
from codeq.search.outcome import StudyReport, TrialEnd
from codeq.storage.machine_fault import causes, machine_fault
from codeq.storage.trial_folder import StateDamaged

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
_DASHBOARD_CONSTRAINTS = "constraints"
"""The attribute in which optuna-dashboard 0.21 looks for constraints: a list of numbers, as in Optuna 4."""

OWNER = "driver"
"""The user attribute of a trial that names its driver, in a study of several: see `codeq.search.shared_study`."""

SQLITE_TIMEOUT_S = 2.0
"""Seconds for which an operation waits for a lock that another program has on the file: the driver has other work."""
LOCK_TIMEOUT_S = 30.0
"""Seconds for which a driver waits until others have begun a trial."""
CREATE_ATTEMPTS = 4


class OtherObjectives(StateDamaged):
    """The study of that name has other objectives."""


class StudyUnavailable(Exception):
    """The database cannot be used now: another program has locked it, or its server does not answer."""


def directions(sweep: SweepConfig) -> list[StudyDirection]:
    """Optuna's names for the directions of the sweep's objectives."""
    return [_DIRECTIONS[direction] for direction in sweep.objectives.values()]


def study_url(sweep: SweepConfig, folder: Path) -> str:
    """Where the study is stored: `sweep.study`, or a SQLite file in the sweep's folder."""
    if sweep.study is not None:
        return optuna_url(sweep.study)
    return sqlite_url((folder / "study.db").absolute())


def sqlite_url(database: Path) -> str:
    """The URL for Optuna of a SQLite file, whatever characters its path has."""
    return optuna_url(URL.create("sqlite", database=str(database)).render_as_string())


def optuna_url(url: str) -> str:
    """A database's URL for Optuna, which formats it: with `{{` for `{`."""
    return url.replace("{", "{{").replace("}", "}}")


def open_study(sweep: SweepConfig, folder: Path) -> optuna.Study:
    """The sweep's study, created if it is new.

    Raises StateDamaged if the storage cannot be used or holds a study with other objectives, StudyUnavailable if it is
    locked for LOCK_TIMEOUT_S seconds, and the error itself if that is a fault of the machine.
    """
    quiet_optuna()
    url = study_url(sweep, folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _open(url, sweep)
    except _OtherDirections as error:
        raise OtherObjectives(str(_unusable(sweep, folder, error))) from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, Timeout) as error:
        if machine_fault(error) is not None:
            raise
        if is_locked(error):
            raise StudyUnavailable(f"{_place(sweep, folder)} is locked") from error
        raise _unusable(sweep, folder, error) from None


def is_locked(error: BaseException) -> bool:
    """Whether an error of the study says that another program has locked it, which passes."""
    return any(isinstance(cause, Timeout) or "database is locked" in str(cause) for cause in causes(error))


def delete_failed_study(sweep: SweepConfig, folder: Path) -> None:
    """Delete the sweep's study, if there is one, so that its trials' numbers are free again.

    Raises StateDamaged if it holds a trial that has not failed, or cannot be read.
    """
    quiet_optuna()
    url = study_url(sweep, folder)
    try:
        study = optuna.load_study(study_name=sweep.name, storage=url)
        if any(trial.state is not TrialState.FAIL for trial in study.get_trials(deepcopy=False)):
            more = "--name NAME starts another sweep"
            raise StateDamaged(f"the study {sweep.name} holds trials that have no folder; {more}")
        optuna.delete_study(study_name=study.study_name, storage=url)
    except KeyError:  # there is none
        return
    except (SQLAlchemyError, ValueError) as error:
        raise _unusable(sweep, folder, error) from None


class _OtherDirections(ValueError):
    """A study has other directions."""


def _unusable(sweep: SweepConfig, folder: Path, error: Exception) -> StateDamaged:
    return StateDamaged(f"{_place(sweep, folder)}: cannot be used: {first_line(error)}")


def _place(sweep: SweepConfig, folder: Path) -> str:
    """Where the study is, for a message: its URL may have a password."""
    return "sweep.study" if sweep.study else str(folder / "study.db")


def quiet_optuna() -> None:
    """Silence Optuna's log messages and experimental warnings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # metric names and TPE's groups
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextlib.contextmanager
def available() -> Iterator[None]:
    """Raise StudyUnavailable for an error of the database's server or file, StateDamaged for a file that is damaged."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        for cause in causes(error):
            if isinstance(cause, OperationalError | InterfaceError):
                raise StudyUnavailable(one_line(cause.orig or cause)) from error
            if type(cause) is DatabaseError:  # SQLite's: malformed, or no database
                more = "the same command with --resume rebuilds it from the trials' records"
                raise StateDamaged(f"the study is damaged: {one_line(cause.orig or cause)}; {more}") from error
        raise


@available()
def begin_trial(study: optuna.Study, proposed: FrozenTrial, attributes: Mapping[str, Any]) -> optuna.Trial:
    """Store a trial with the parameters of `proposed` as running, in one transaction; its number is the next one.

    Raises StudyUnavailable. Then the trial may be stored or not: `find_trial` tells.
    """
    trial = create_trial(
        state=TrialState.RUNNING,
        params=proposed.params,
        distributions=proposed.distributions,
        user_attrs={**proposed.user_attrs, **attributes},
    )
    # As Study.add_trial, which does not return the trial: to find it reads all that run.
    return optuna.Trial(study, study._storage.create_new_trial(study._study_id, template_trial=trial))


@available()
def find_trial(study: optuna.Study, name: str, value: Any) -> optuna.Trial | None:
    """Return the trial whose user attribute `name` is `value`. Raises StudyUnavailable."""
    found = (trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(name) == value)
    return next((_trial(study, trial) for trial in found), None)


@available()
def end_trial(trial: optuna.Trial, end: TrialEnd, report: StudyReport) -> None:
    """Store how the trial ended; may be repeated. Raises StudyUnavailable."""
    for name, value in end.attributes.items():
        trial.set_user_attr(name, value)
    for name, violation in report.constraints.items():
        trial.set_constraint(name, violation)
    if report.constraints:
        violations = list(report.constraints.values())
        trial.storage.set_trial_system_attr(trial._trial_id, _DASHBOARD_CONSTRAINTS, violations)
    # Study.tell would first read the trial; its sampler learns nothing here.
    trial.storage.set_trial_state_values(trial._trial_id, report.state, report.values)


@available()
def end_interrupted(study: optuna.Study, number: int, end: TrialEnd, report: StudyReport) -> None:
    """Store how a trial ended that the study has as running or waiting: its driver was killed before it stored it."""
    trial = _trial(study, study.get_trials(deepcopy=False)[number])
    trial.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)  # a waiting trial cannot be told
    end_trial(trial, end, report)


@available()
def mark_waiting(study: optuna.Study, driver: str = "") -> None:
    """Set running trials to WAITING, for --resume: without a driver no trial is RUNNING. Raises StudyUnavailable.

    driver: only its trials, in a study of several drivers.
    """
    # The cache in front of the database would read all trials.
    storage = getattr(study._storage, "_backend", study._storage)
    for stored in storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_owned(stored, driver):
            continue
        trial = _trial(study, stored)
        trial.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


@available()
def resume_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return the trial of that number, which has waited, running again. Raises StudyUnavailable."""
    trial = _trial(study, study.get_trials(deepcopy=False)[number])
    trial.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    return trial


def is_owned(trial: FrozenTrial, driver: str) -> bool:
    """Whether a trial belongs to `driver`. One without an owner, as in a study of one driver, belongs to any."""
    return bool(trial.user_attrs.get(OWNER, driver) == driver)


def _trial(study: optuna.Study, stored: FrozenTrial) -> optuna.Trial:
    return optuna.Trial(study, stored._trial_id)


def lock_file(url: str) -> FileLock | None:
    """Return the lock beside a SQLite file, which has no locks of rows; None for the URL of a server.

    url: as Optuna takes it.
    """
    parsed = make_url(url.replace("{{", "{").replace("}}", "}"))
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    database = Path(parsed.database)
    return FileLock(database.with_name(f".{database.name}.lock"), timeout=LOCK_TIMEOUT_S)


def _open(url: str, sweep: SweepConfig) -> optuna.Study:
    """Open the study, or create it: of two processes that create the tables at the same time, one fails and repeats.
    So does one that finds the file locked, for LOCK_TIMEOUT_S seconds."""
    began = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            with lock_file(url) or contextlib.nullcontext():
                return _open_once(url, sweep)
        except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            is_creating = isinstance(error, IntegrityError | ProgrammingError) and attempt <= CREATE_ATTEMPTS
            is_waiting = is_locked(error) and time.monotonic() - began < LOCK_TIMEOUT_S
            if not (is_creating or is_waiting):
                raise
        time.sleep(1.0)


def _open_once(url: str, sweep: SweepConfig) -> optuna.Study:
    arguments = {"connect_args": {"timeout": SQLITE_TIMEOUT_S}} if url.startswith("sqlite:") else None
    storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    study = optuna.create_study(
        storage=storage, study_name=sweep.name, directions=directions(sweep), load_if_exists=True,
    )  # fmt: skip
    if study.directions != directions(sweep):
        found, wanted = ([d.name for d in which] for which in (study.directions, directions(sweep)))
        raise _OtherDirections(f"its directions are {found}, not {wanted}")
    study.set_metric_names(list(sweep.objectives))
    return study
