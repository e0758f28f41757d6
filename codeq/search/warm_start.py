"""Trials of another sweep, from which this sweep's sampler learns before its first draw.

Only the sampler knows them: they have no number and no folder in this sweep and cannot be on its front.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError
from upath import UPath

from codeq.config import Parameter, Template
from codeq.config.document import parse_document
from codeq.config.errors import BadInput, format_value
from codeq.config.passwords import is_masked, mask_password, without_mask
from codeq.config.paths import expand_paths
from codeq.config.sweep import SweepConfig
from codeq.config.text import first_line
from codeq.search.outcome import TrialEnd
from codeq.search.servers import ServerUnavailable, check_database, check_reading, database_engine
from codeq.search.study import optuna_url, quiet_optuna, sqlite_url
from codeq.storage.atomic_files import is_local


@dataclass(frozen=True)
class WarmStartTrial:
    """A trial of another sweep. parameters: those that this sweep searches too, all within its ranges."""

    parameters: dict[str, Any]
    end: TrialEnd


class _Unusable(Exception):
    """The other sweep cannot be used; the message says why."""


def warm_start_trials(template: Template, own_folder: UPath) -> list[WarmStartTrial]:
    """The trials of `search.warm_start` that lie within this sweep's space; an empty list if the key is not set.

    Raises BadInput, with the file's line, if there is no such sweep, it has other objectives, or no trial fits.
    """
    where = template.sweep.search.warm_start
    if where is None:
        return []
    try:
        folder = UPath(where)
        folder = folder.absolute() if is_local(folder) else folder
        if folder == own_folder:
            raise _Unusable("is this sweep's own folder, with which --resume goes on")
        check_reading(folder)
        trials = _trials_of(folder, template.sweep)
        return _fitting(trials, template)
    except (_Unusable, SQLAlchemyError, OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        reason = f"is {format_value(where)}: {first_line(error)}"
        raise BadInput(str(template.problem("sweep.search.warm_start", reason))) from None


def _trials_of(folder: UPath, own: SweepConfig) -> list[FrozenTrial]:
    """All trials of the sweep in `folder`, whose objectives must be those of this sweep, `own`."""
    if not folder.exists():
        raise _Unusable("no such folder")
    objectives = own.objectives
    with _open_study(folder, own.study) as study:
        directions = ["max" if d is StudyDirection.MAXIMIZE else "min" for d in study.directions]
        found = dict(zip(study.metric_names or [], directions, strict=False))
        if found != objectives:
            here = format_value(dict(objectives))
            raise _Unusable(f"its objectives are {format_value(found)}, must be this sweep's, {here}")
        return study.get_trials(deepcopy=False)


@contextlib.contextmanager
def _open_study(folder: UPath, own_url: str | None) -> Iterator[optuna.Study]:
    """The study of the sweep in `folder`: its study.db, or the one that its template names.

    own_url: of this sweep's study.
    """
    quiet_optuna()
    database = folder / "study.db"
    if database.exists() and is_local(folder):
        yield optuna.load_study(study_name=None, storage=sqlite_url(Path(str(database))))
    elif database.exists():
        with tempfile.TemporaryDirectory(prefix="codeq-warm-start-") as here:
            copy = Path(here) / "study.db"
            copy.write_bytes(database.read_bytes())
            yield optuna.load_study(study_name=None, storage=sqlite_url(copy))
    elif (folder / "template.yaml").exists():
        document = parse_document((folder / "template.yaml").read_text(), "template.yaml")
        expand_paths(document)
        sweep = document.data["sweep"]
        if not (url := sweep["study"]):
            raise _Unusable("its study.db is missing")
        yield _load_from_server(sweep["name"], url, own_url)
    else:
        raise _Unusable("is no sweep's folder, it holds neither study.db nor template.yaml")


def _load_from_server(name: str, url: str, own_url: str | None) -> optuna.Study:
    """The study `name` in the database at `url`, in which the password is masked.

    The password is that of `own_url` where that is the same database; else the database's client may know it.
    """
    usable = own_url if own_url is not None and mask_password(own_url) == url else without_mask(url)
    database_engine(usable)  # a missing driver is not a matter of passwords
    try:
        check_database(usable)
    except ServerUnavailable as error:
        if not is_masked(url) or usable == own_url:
            raise
        more = "no file holds its password: give this sweep the same sweep.study, or set PGPASSWORD"
        raise _Unusable(f"its study is {url}, {more} ({first_line(error)})") from None
    return optuna.load_study(study_name=name, storage=optuna_url(usable))


def _fitting(trials: list[FrozenTrial], template: Template) -> list[WarmStartTrial]:
    """The trials that have ended and lie within the template's space; raises _Unusable if there are none."""
    parameters = {parameter.name: parameter for parameter in template.parameters}
    searched = {name for trial in trials for name in trial.params}
    if not searched & parameters.keys():
        raise _Unusable(f"searches none of {', '.join(parameters)}")
    needed = _needed(template)
    known = []
    for trial in trials:
        shared = {name: value for name, value in trial.params.items() if name in parameters}
        ended = TrialEnd.of_stored(trial)
        if ended and ended.status != "failed" and needed <= shared.keys() and _lie_within(shared, parameters):
            known.append(WarmStartTrial(shared, ended))
    if not known:
        raise _Unusable(f"none of its {len(trials)} trials lies within this sweep's ranges of {', '.join(parameters)}")
    return known


def _needed(template: Template) -> set[str]:
    """The parameters that a trial must have.

    None in particular for TPE, which models groups of parameters. All unconditional ones for the other samplers, which
    draw a parameter at random if any trial lacks it.
    """
    if template.sweep.search.sampler == "tpe":
        return set()
    return {parameter.name for parameter in template.parameters if not parameter.conditional}


def _lie_within(values: dict[str, Any], parameters: dict[str, Parameter]) -> bool:
    return bool(values) and all(parameters[name].distribution.contains(value) for name, value in values.items())
