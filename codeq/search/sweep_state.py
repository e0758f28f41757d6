"""The stored state of a sweep, opened by one driver at a time: its trials' records, its study, its template."""

from __future__ import annotations

import contextlib
import errno
import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import optuna
from upath import UPath

from codeq.config import Template
from codeq.config.differences import differences
from codeq.config.document import parse_document
from codeq.config.errors import BadInput, format_value
from codeq.config.passwords import is_masked
from codeq.config.run import RUNTIME_KEYS
from codeq.config.sweep import SweepConfig
from codeq.config.text import first_line, one_line, pluralize
from codeq.plugins import PLUGINS_FOLDER, Plugin, stored_plugins
from codeq.search.outcome import TrialEnd, for_study
from codeq.search.recovery import TEMPLATE_ATTRIBUTE, readable_template, recover, stored_template
from codeq.search.servers import ServerUnavailable, check_database, check_package, check_storage, database_engine
from codeq.search.shared_study import FOLDER, SharedStudy
from codeq.search.study import (
    OWNER,
    StudyUnavailable,
    available,
    delete_failed_study,
    end_interrupted,
    is_owned,
    mark_waiting,
    open_study,
)
from codeq.search.warm_start import WarmStartTrial, warm_start_trials
from codeq.storage.atomic_files import is_local, with_path, write_atomically
from codeq.storage.driver_lock import SweepInUse, driver_lock, driver_name
from codeq.storage.machine_fault import machine_fault
from codeq.storage.trial_folder import Row, StateDamaged, TrialFolder, from_each, trial_folder, trial_folders

log = logging.getLogger(__name__)

_FREE_TO_CHANGE = RUNTIME_KEYS - {"threads", "use_compile"} | {"sweep"}
"""Keys that a resumed sweep may change. Threads and compilation are not among them: they change scores by rounding."""


@dataclass(frozen=True)
class SweepState:
    """The state of an open sweep.

    folder: holds all files, perhaps behind a URL. local: see `local_folder`.
    warm_start: trials of another sweep from which the sampler learns before its first draw.
    token: the driver's, see `codeq.storage.driver_lock`.
    shared: the study as several drivers share it, that of `sweep.study`; drivers_before: how many had joined before.
    """

    template: Template
    folder: UPath
    local: Path
    study: optuna.Study
    warm_start: Sequence[WarmStartTrial]
    token: str
    shared: SharedStudy | None = None
    drivers_before: int = 0

    @property
    def remaining(self) -> int:
        """The number of trials to begin or to finish."""
        return int(self.template.sweep.trials or 1) - self.ended

    @property
    def ended(self) -> int:
        """The number of trials that have ended, successfully or not."""
        return sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    @property
    def unfinished(self) -> int:
        """The number of trials that have begun and not ended."""
        return len(self.study.get_trials(deepcopy=False)) - self.ended

    def rows(self) -> Iterator[tuple[int, list[Row]]]:
        """The number and the recorded rows of each trial. Raises StateDamaged if rows cannot be read."""
        for trial in self.study.get_trials(deepcopy=False):
            yield trial.number, trial_folder(self.folder, trial.number).rows()

    def note_unfinished(self, reason: str) -> None:
        """Record why the running trials did not finish; --resume continues them."""
        for trial in trial_folders(self.folder):
            record = trial.read_record()
            if record and record.status == "running":
                trial.write_record(replace(record, reason=reason))

    def upload_study(self) -> None:
        """Copy the SQLite study to the sweep's folder if that is behind a URL."""
        database = self.local / "study.db"
        if not is_local(self.folder) and database.exists():
            write_atomically(self.folder / "study.db", database.read_bytes())


def sweep_folder(template: Template) -> UPath:
    """The sweep's folder, storage/name. Raises BadInput for an unknown URL scheme, or a link that leads elsewhere."""
    try:
        storage = UPath(template.sweep.storage)
    except (ValueError, ImportError) as error:
        known = "must be a folder or a URL such as s3://bucket/path, gs://bucket/path or az://container/path"
        reason = f"is {format_value(template.sweep.storage)}, {known} ({first_line(error)})"
        raise BadInput(str(template.problem("sweep.storage", reason))) from None
    folder = (storage.absolute() if is_local(storage) else storage) / str(template.sweep.name)
    if is_local(folder) and not folder.resolve().is_relative_to(storage.resolve()):
        reason = f"{folder} is a link to {folder.resolve()}, outside {storage}; name that folder with --storage"
        raise BadInput(str(template.problem("sweep.name", reason)))
    return folder


def local_folder(folder: UPath) -> Path:
    """The sweep's folder, or, if that is behind a URL, one on this machine that no other URL shares: it holds the lock,
    the study during the sweep, TensorBoard's events and W&B's files."""
    if is_local(folder):
        return Path(str(folder))
    parts = [part for part in PurePosixPath(folder.path).parts if part not in ("/", "..")]
    return Path("results").absolute().joinpath(folder.protocol, *parts)


@contextlib.contextmanager
def open_sweep(template: Template, resume: bool, plugins: Sequence[Plugin] = ()) -> Iterator[SweepState]:
    """The sweep's state, locked by this driver until the end of the `with` block.

    Without `resume`, trials are removed if all of them failed; with it, damage is repaired (`recover`).
    Raises StateDamaged if the state cannot be read, it holds other trials and `resume` is not set, or it was begun with
    another template; BadInput if another driver has it, its folder or its study cannot be used, its study's URL has a
    masked password, or there is nothing to start warm from.
    """
    study_url = template.sweep.study
    if study_url is not None and is_masked(study_url):
        reason = f"is {study_url}, whose password no file holds; give the whole URL: --set sweep.study=URL"
        raise BadInput(str(template.problem("sweep.study", reason)))
    folder = sweep_folder(template)
    local = local_folder(folder)
    check_servers(template)
    with _lock(folder, local, template) as token:
        driver = driver_name(token) if study_url is not None else ""
        _fetch_study(folder, local)
        path = folder / "template.yaml"
        text = readable_template(path) if resume and trial_folders(folder) else None
        if text is not None:  # before the study is touched: other objectives are no damage to it
            _check_same_template(path, text, template)
        if resume:
            _remove_lost(folder, local, template, driver)
            recover(folder, local, template, driver)
        records = [record for record in from_each(trial_folders(folder), TrialFolder.read_record) if record]
        if records and not resume and all(record.status == "failed" for record in records):
            _remove_failed(folder, local, template.sweep)
            log.warning("%s: all trials (%d) had failed, the sweep begins again", folder, len(records))
            records = []
        _check_no_trials(str(folder), len(records), resume)
        study = open_study(template.sweep, local)
        if records and text is None:
            _check_same_template(path, stored_template(path, study), template)
        warm_start = warm_start_trials(template, folder)
        shared = SharedStudy(study, study_url, driver) if study_url is not None else None
        stored = len(study.get_trials(deepcopy=False))
        joins = shared is not None and stored > 0 and not resume and shared.others_live()
        _check_no_trials(f"the study {template.sweep.name}", stored, resume or joins)
        _store_missing_ends(folder, study, template.sweep, driver)
        _store_plugins(folder, plugins, begun=bool(records))
        with shared.locked() if shared else contextlib.nullcontext():
            if shared and (first := study.user_attrs.get(TEMPLATE_ATTRIBUTE)):
                _check_same_template(f"the study {template.sweep.name}", first, template)
            write_atomically(path, template.to_yaml())
            with available():
                study.set_user_attr(TEMPLATE_ATTRIBUTE, template.to_yaml())
            mark_waiting(study, driver)  # trials that a killed driver left RUNNING
            before = shared.join() if shared else 0
        state = SweepState(template, folder, local, study, warm_start, token, shared, before)
        try:
            yield state
        finally:
            _close(state)


def _close(state: SweepState) -> None:
    """Leave no trial running in the study. The next driver does it if the study cannot be used or stored now."""
    try:
        try:
            mark_waiting(state.study, state.shared.driver if state.shared else "")
        finally:
            if state.shared:
                state.shared.leave()
        state.upload_study()
    except Exception as error:
        if not isinstance(error, StudyUnavailable) and machine_fault(error) is None:
            raise
        log.warning("%s: the study could not be closed: %s", state.folder, one_line(error))


def check_servers(template: Template, *, connect: bool = True) -> None:
    """Raise BadInput, with the file's line, if the storage or the study is behind a URL where nothing can be stored.

    connect: False checks only what needs no connection, the URLs and the packages for them.
    """
    folder, study = sweep_folder(template), template.sweep.study
    key = "sweep.storage"
    try:
        if not is_local(folder):
            check_storage(folder) if connect else check_package(folder)
        key = "sweep.study"
        if study:
            check_database(study) if connect else database_engine(study)
    except ServerUnavailable as error:
        raise BadInput(str(template.problem(key, str(error)))) from None


def _remove_failed(folder: UPath, local: Path, sweep: SweepConfig) -> None:
    """Remove the study and the trials of a sweep whose trials all failed. Raises StateDamaged for other trials."""
    delete_failed_study(sweep, local)
    for path in (folder / "trials", UPath(local) / "trials"):
        if path.exists():
            path.fs.rm(path.path, recursive=True)


@contextlib.contextmanager
def _lock(folder: UPath, local: Path, template: Template) -> Iterator[str]:
    """Hold the driver's lock; yields its token. Raises BadInput if another driver has it or it cannot be written."""
    with contextlib.ExitStack() as stack:
        try:
            token = stack.enter_context(driver_lock(folder, local, lambda: _owner(folder, local, template)))
        except SweepInUse as error:
            raise BadInput(str(error)) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # it passes
                raise with_path(error, local) from None
            reason = f"{local} cannot be written: {error.strerror or error}"
            raise BadInput(str(template.problem("sweep.storage", reason))) from None
        yield token


def _owner(folder: UPath, local: Path, template: Template) -> str | None:
    """The driver whose trials lie in this folder, as the study of several drivers tells it; None without trials.

    Under another name they would be taken for those of another driver. Raises StateDamaged if the study does not tell.
    """
    if template.sweep.study is None or not trial_folders(folder):
        return None
    trials = open_study(template.sweep, local).get_trials(deepcopy=False)
    owners = {trial.user_attrs.get(OWNER) for trial in trials if trial.user_attrs.get(FOLDER) == str(folder)}
    if len(owners) != 1:
        more = "restore it from a backup, or go on in another folder: --storage FOLDER"
        raise StateDamaged(f"{folder / 'driver'}: damaged, and the study does not tell whose trials these are; {more}")
    return owners.pop()


def _fetch_study(folder: UPath, local: Path) -> None:
    """Download the SQLite study that `upload_study` stored behind a URL, unless there is a local copy."""
    database = local / "study.db"
    if not is_local(folder) and not database.exists() and (folder / "study.db").exists():
        write_atomically(database, (folder / "study.db").read_bytes())


def _check_no_trials(where: str, trials: int, resume: bool) -> None:
    if trials and not resume:
        more = "--resume goes on with them, --name NAME starts another sweep"
        raise StateDamaged(f"{where} holds {pluralize(trials, 'trial')} already; {more}")


def _remove_lost(folder: UPath, local: Path, template: Template, driver: str) -> None:
    """Delete the folders of trials that other drivers have taken over while this one was gone."""
    if not driver or not trial_folders(folder):
        return
    stored = open_study(template.sweep, local).get_trials(deepcopy=False)
    lost = [trial for trial in stored if not is_owned(trial, driver)]
    for found in [trial_folder(folder, trial.number) for trial in lost]:
        if found.path.exists():
            found.remove()
            log.warning("trial %s: another driver has taken it over", found.path.name)


def _store_missing_ends(folder: UPath, study: optuna.Study, sweep: SweepConfig, driver: str) -> None:
    """Tell the study the ends that a killed driver has recorded in trials' folders and did not tell it."""
    for stored in study.get_trials(deepcopy=False):
        if not is_owned(stored, driver):
            continue
        if not stored.state.is_finished() and (ended := TrialEnd.recorded(trial_folder(folder, stored.number))):
            end_interrupted(study, stored.number, ended, for_study(ended, sweep))


def _store_plugins(folder: UPath, plugins: Sequence[Plugin], *, begun: bool) -> None:
    """Keep the plug-ins in the sweep's folder, where its workers find them.

    Raises StateDamaged if the sweep has begun with others: trials of two versions of a part cannot be compared.
    """
    given = {plugin.name: plugin for plugin in plugins}
    for path in stored_plugins(folder):
        plugin = given.get(path.name)
        if not begun:
            path.unlink()
        elif plugin is None:
            raise StateDamaged(f"{folder}: was begun with a plug-in; give it again: --plugin {shlex.quote(str(path))}")
        elif plugin.content != path.read_bytes():
            more = f"--plugin {shlex.quote(str(path))} goes on with the stored one, --name NAME starts another sweep"
            raise StateDamaged(f"{plugin.path}: differs from {path}, which the sweep was begun with; {more}")
    for plugin in plugins:
        write_atomically(folder / PLUGINS_FOLDER / plugin.name, plugin.content)


def _check_same_template(where: UPath | str, text: str, template: Template) -> None:
    """Raise StateDamaged if the sweep was begun with another template, `text`: its trials would not be comparable."""
    before, now = (_comparable_config(content) for content in (text, template.to_yaml()))
    changed = [str(template.problem(found.key, str(found))) for found in differences(before, now)]
    if changed:
        more = "resume with the same template, or start another sweep with --name NAME"
        raise StateDamaged("\n".join([*changed, f"{where}: was begun with another template; {more}"]))


def _comparable_config(text: str) -> dict[str, Any]:
    data = parse_document(text, "template.yaml").data
    plain = {key: value for key, value in data.items() if key not in _FREE_TO_CHANGE}
    in_order = [" ".join(objective) for objective in data["sweep"]["objectives"].items()]  # as the study stores them
    return {**plain, "sweep": {"objectives": in_order}}
