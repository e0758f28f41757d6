"""Repairs what is damaged of a sweep's stored state from what is intact.

A trial is known in two places, its folder's trial.json and the study, so either is rebuilt from the other; its
config.yaml follows from the drawn values, and the template is kept in the study too. What only one damaged file held is
reported, never made up.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.config.document import parse_document
from codeq.config.errors import ConfigError
from codeq.config.text import first_line, pluralize
from codeq.search.outcome import TrialEnd, for_study
from codeq.search.samplers import as_optuna
from codeq.search.study import OtherObjectives, begin_trial, end_trial, is_locked, is_owned, open_study
from codeq.storage.machine_fault import machine_fault
from codeq.storage.trial_folder import (
    EMPTY_METRICS,
    StateDamaged,
    TrialFolder,
    TrialRecord,
    confirm_folders,
    trial_folder,
    trial_folders,
)

log = logging.getLogger(__name__)

TEMPLATE_ATTRIBUTE = "template"
"""The study's user attribute that holds a copy of template.yaml."""


def run_attributes(config: RunConfig) -> dict[str, str | int]:
    """Return what the study stores of a trial's config beside its drawn values; `rebuild_record` reads it."""
    return {"run_name": config.run_name, "seed": config.seed, "config_hash": config.config_hash}


def recover(folder: UPath, local: Path, template: Template, driver: str = "") -> None:
    """Repair the trials' records and configs, and a SQLite study, each with a warning.

    driver: in a study of several drivers the one whose trials these are.
    Raises StateDamaged, a line for each file, if something cannot be repaired.
    """
    problems, records, damaged = [], dict[int, TrialRecord](), dict[int, StateDamaged]()
    for found in trial_folders(folder):
        number = int(found.path.name)
        try:
            record = found.read_record()
        except StateDamaged as error:
            damaged[number] = error
        else:
            if record is not None:
                records[number] = record
    try:
        study = _study(local, template, records, whole=not damaged)
    except StateDamaged as error:
        raise StateDamaged("\n".join(map(str, [error, *damaged.values()]))) from None
    stored = {trial.number: trial for trial in study.get_trials(deepcopy=False) if is_owned(trial, driver)}
    for number, trial in stored.items():
        if trial.state.is_finished() and number not in records and number not in damaged:
            damaged[number] = StateDamaged(f"{trial_folder(folder, number).path / 'trial.json'}: is missing")
    for number, cause in damaged.items():
        if number not in stored:
            problems.append(f"{cause}; the study does not hold this trial: restore the file from a backup")
            continue
        records[number] = _record(stored[number])
        trial_folder(folder, number).write_record(records[number])
        log.warning("%s; rebuilt from the study", cause)
    for number, record in records.items():
        config_hash = stored[number].user_attrs.get("config_hash") if number in stored else None
        if problem := _recover_config(trial_folder(folder, number), record, template, config_hash):
            problems.append(problem)
    for run in confirm_folders(folder):
        _recover_run(run, {number: record.run_name for number, record in records.items()})
    if problems:
        raise StateDamaged("\n".join(problems))


def _study(local: Path, template: Template, records: dict[int, TrialRecord], *, whole: bool) -> optuna.Study:
    """The sweep's study; a SQLite file that is damaged or lacks trials is rebuilt. whole: all records could be read."""
    database = local / "study.db"
    try:
        study = open_study(template.sweep, local)
        if max(records, default=-1) < len(study.get_trials(deepcopy=False)):
            return study
        reason = "the study lacks trials that have folders"
    except OtherObjectives:  # another template, no damage
        raise
    except (StateDamaged, SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        is_file_whole = is_locked(error) or machine_fault(error) is not None  # it passes, such as a full disk
        if is_file_whole and "disk I/O error" not in str(error):  # SQLite's word for a file that is cut off, too
            raise
        reason = first_line(error)
    if template.sweep.study is not None or not whole or sorted(records) != list(range(len(records))):
        more = "restore it from a backup, or start another sweep with --name NAME"
        raise StateDamaged(f"{'sweep.study' if template.sweep.study else database}: {reason}; {more}")
    aside = _free_name(database.with_suffix(".db.damaged"))
    if database.exists():
        database.replace(aside)
    study = open_study(template.sweep, local)
    for _, record in sorted(records.items()):
        _add(study, record, template)
    log.warning("%s; rebuilt from %s, the old file is %s", reason, pluralize(len(records), "record"), aside)
    return study


def _free_name(path: Path) -> Path:
    """`path`, or the first of path.1, path.2, ... if there is such a file."""
    names = (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 1000)))
    return next(name for name in names if not name.exists())


def _add(study: optuna.Study, record: TrialRecord, template: Template) -> None:
    """Add a trial as its record tells it."""
    distributions = {parameter.name: as_optuna(parameter.distribution) for parameter in template.parameters}
    proposed = create_trial(
        state=TrialState.RUNNING,
        params=record.parameters,
        distributions={name: distributions[name] for name in record.parameters},
    )
    trial = begin_trial(study, proposed, run_attributes(_config(record, template)))
    if record.status != "running":
        end = TrialEnd(record.status, record.reason, {**EMPTY_METRICS, **(record.last_row or {})})
        end_trial(trial, end, for_study(end, template.sweep))


def _record(stored: optuna.trial.FrozenTrial) -> TrialRecord:
    """The record of a trial as the study tells it; how long it took is lost."""
    known, end = stored.user_attrs, TrialEnd.of_stored(stored)
    record = TrialRecord(stored.number, str(known.get("run_name", "")), int(known.get("seed", 0)), dict(stored.params))
    if end is None:
        return record
    return replace(record, status=end.status, reason=end.reason, last_row=end.row)


def _config(record: TrialRecord, template: Template) -> RunConfig:
    """The trial's config, drawn again; threads are kept in it, so that a winner is trained again with the same sums."""
    config = template.draw(lambda name, distribution: record.parameters[name])
    return config.model_copy(update={"threads": config.threads or template.sweep.resources.threads})


def _recover_config(
    trial: TrialFolder, record: TrialRecord, template: Template, config_hash: str | None
) -> str | None:
    """Write a damaged config again; returns the problem if the values do not give a config.

    config_hash: what the study holds of the config; None if it does not hold the trial.
    """
    found: RunConfig | None = None
    try:
        found = trial.read_config()
        if config_hash in (None, found.config_hash) and found.seed == record.seed:
            return None
        reason = f"{trial.path / 'config.yaml'}: damaged: its values are not those that were drawn"
    except StateDamaged as error:
        reason = str(error)
    try:
        drawn = _config(record, template)
    except (ConfigError, KeyError):
        return reason
    if found is not None and drawn.config_hash != config_hash:  # stored by a version with other keys: nothing is known
        return None
    trial.write_config(drawn)
    log.warning("%s; written again from the drawn values", reason)
    return None


def _recover_run(run: TrialFolder, run_names: Mapping[int, str]) -> None:
    """Write the damaged record of a run that confirms a trial again: its folder tells the trial, the seed and the rows.

    run_names: of the sweep's trials, by number.
    """
    try:
        run.read_record()
    except StateDamaged as error:
        number, seed = map(int, run.path.name.split("_seed"))
        record, last = TrialRecord(number, run_names.get(number, ""), seed), run.last_row()
        if last.get("status", "running") != "running":
            record = replace(record, status=last["status"], reason=last["reason"], last_row=last)
        run.write_record(record)
        log.warning("%s; rebuilt from the run's rows", error)


def readable_template(path: UPath) -> str | None:
    """Return the text of template.yaml; None if the file is damaged or missing."""
    try:
        text = path.read_text(encoding="utf-8")
        return text if isinstance(parse_document(text, str(path)).data.get("sweep"), dict) else None
    except (OSError, ValueError, AttributeError, ConfigError):
        return None


def stored_template(path: UPath, study: optuna.Study) -> str:
    """Return the copy of a damaged or missing template.yaml that the study holds, with a warning.

    Raises StateDamaged if it holds none.
    """
    reason = "damaged" if path.exists() else "is missing"
    copy = study.user_attrs.get(TEMPLATE_ATTRIBUTE)
    if not isinstance(copy, str):
        more = "restore it from a backup, or start another sweep with --name NAME"
        raise StateDamaged(f"{path}: {reason}; {more}")
    log.warning("%s: %s; its copy in the study is used", path, reason)
    return copy
