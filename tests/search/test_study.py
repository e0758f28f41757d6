"""The stored study: what its storage keeps, and that what happened is told as it happened."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard._serializer import serialize_frozen_trial

from codeq.config import Template
from codeq.config.metrics import REPORTED
from codeq.search.outcome import TrialEnd, for_study, trial_end
from codeq.search.samplers import as_optuna
from codeq.search.study import begin_trial, end_trial, mark_waiting, open_study, resume_trial, sqlite_url, study_url
from tests.search.conftest import row


def asked(template: Template) -> FrozenTrial:
    (epochs,) = [as_optuna(p.distribution) for p in template.parameters if p.name == "epochs"]
    return create_trial(state=TrialState.RUNNING, params={"epochs": 5}, distributions={"epochs": epochs})


def end(trial: optuna.Trial, template: Template, last: dict[str, Any] | None) -> None:
    ended = trial_end(last, template.sweep.scheduler)
    end_trial(trial, ended, for_study(ended, template.sweep))


def test_the_study_knows_its_directions_and_the_names_of_its_objectives(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    loaded = nested(objectives={"val_acc": "max", "rel_bops": "min"})
    study = open_study(loaded.sweep, tmp_path)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["val_acc", "rel_bops"]
    assert sqlite3.connect(tmp_path / "study.db").execute("select study_name from studies").fetchall() == [("s",)]


def test_a_storage_url_of_the_users_is_used_as_it_is(nested: Callable[..., Template], tmp_path: Path) -> None:
    loaded = nested(study=f"sqlite:///{tmp_path}/other.db")
    open_study(loaded.sweep, tmp_path)
    assert (tmp_path / "other.db").exists() and not (tmp_path / "study.db").exists()
    assert study_url(nested().sweep, Path("/tmp/x")) == "sqlite:////tmp/x/study.db"


@pytest.mark.parametrize("name", ["x #2", "what?", "100%20", "{a}", "é & b"])
def test_a_folder_of_any_name_holds_its_study(name: str, nested: Callable[..., Template], tmp_path: Path) -> None:
    study = open_study(nested().sweep, tmp_path / name)
    assert {path.name for path in (tmp_path / name).iterdir()} == {"study.db", ".study.db.lock"}
    assert optuna.load_study(study_name=None, storage=sqlite_url(tmp_path / name / "study.db")).study_name == "s"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [name]
    assert study.study_name == "s"


def _open(path: str, folder: str) -> int:
    loaded = Template.load(path)
    return len(open_study(loaded.sweep, Path(folder)).trials)


def test_processes_that_open_a_fresh_study_at_once_do_not_crash_each_other(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    loaded = nested()
    with get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_open, [(str(loaded.source), str(tmp_path))] * 6)
    assert found == [0] * 6


def test_a_trial_begins_running_with_its_parameters_and_attributes(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    assert [begin_trial(study, asked(template), {"seed": 7}).number for _ in range(2)] == [0, 1]
    stored = open_study(template.sweep, tmp_path).trials[1]
    assert (stored.state, stored.params, stored.user_attrs) == (TrialState.RUNNING, {"epochs": 5}, {"seed": 7})


def transactions(database: Path) -> int:
    """How many transactions have written to a SQLite file: its header counts them."""
    return int.from_bytes(database.read_bytes()[24:28], "big")


def test_a_trial_costs_the_storage_a_handful_of_transactions(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    template = nested(constraints={"val_acc": ">= 80"})
    study = open_study(template.sweep, tmp_path)
    opened = transactions(tmp_path / "study.db")
    trial = begin_trial(study, asked(template), dict.fromkeys("abcdefgh", 1))
    assert transactions(tmp_path / "study.db") - opened == 1
    end(trial, template, row())
    # Each of status, metrics, the constraint, the dashboard's copy of it, and the end.
    assert transactions(tmp_path / "study.db") - opened == 6


@pytest.mark.parametrize(
    ("values", "state", "told"),
    [
        ({}, TrialState.COMPLETE, [90.0, 0.5]),
        ({"status": "running"}, TrialState.PRUNED, None),
        ({"status": "diverged", "reason": "loss is nan", "loss": math.nan}, TrialState.FAIL, None),
        ({"status": "collapsed"}, TrialState.FAIL, None),
        ({"status": "failed", "reason": "ValueError: x"}, TrialState.FAIL, None),
        ({"sparsity": math.nan}, TrialState.FAIL, None),
        ({"sparsity": math.inf}, TrialState.FAIL, None),
    ],
)
def test_the_study_hears_how_a_trial_ended(
    nested: Callable[..., Template], tmp_path: Path, values: dict[str, Any], state: TrialState, told: Any
) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    last = row(**values)
    end(begin_trial(study, asked(template), {}), template, last)
    (trial,) = study.trials
    assert (trial.state, trial.values) == (state, told)
    assert len(study.best_trials) == (state is TrialState.COMPLETE)
    status = last["status"]
    assert trial.user_attrs["status"] == ("stopped" if status == "running" else status)
    if last["reason"]:
        assert trial.user_attrs["reason"] == last["reason"]


def test_a_trial_that_misses_a_constraint_is_none_of_the_best_and_the_dashboard_sees_why(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    template = nested(constraints={"val_acc": ">= 80", "rel_bops": "<= 0.4"})
    study = open_study(template.sweep, tmp_path)
    for rel_bops in (0.5, 0.3):
        end(begin_trial(study, asked(template), {}), template, row(rel_bops=rel_bops))
    assert [trial.number for trial in study.best_trials] == [1]
    missed = study.trials[0]
    assert {name: missed.constraints[name] for name in template.sweep.constraints} == {
        "val_acc": -10.0, "rel_bops": pytest.approx(0.1)
    }  # fmt: skip
    assert serialize_frozen_trial(1, missed, {})["constraints"] == [-10.0, pytest.approx(0.1)]


def test_what_the_study_keeps_of_a_trial_is_json_that_browsers_read(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    end(begin_trial(study, asked(template), {}), template, row(status="diverged", loss=math.nan, mean_bits=math.inf))
    stored = sqlite3.connect(tmp_path / "study.db").execute("select value_json from trial_user_attributes").fetchall()
    assert not any("NaN" in text or "Infinity" in text for (text,) in stored)


def test_an_ending_comes_back_from_the_study_as_it_was(nested: Callable[..., Template], tmp_path: Path) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    trial = begin_trial(study, asked(template), {})
    assert TrialEnd.of_stored(study.trials[0]) is None
    end(trial, template, row(status="running", epoch=3))
    again = TrialEnd.of_stored(study.trials[0])
    assert again is not None and (again.status, again.reason) == ("stopped", "asha at epoch 3")
    assert {name: again.row[name] for name in ("epoch", *REPORTED)} == {
        name: row(epoch=3)[name] for name in ("epoch", *REPORTED)
    }


def test_what_is_laid_aside_waits_until_it_is_taken_up(nested: Callable[..., Template], tmp_path: Path) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    trials = [begin_trial(study, asked(template), {}) for _ in range(3)]
    end(trials[1], template, row())
    mark_waiting(study)
    assert [t.state for t in study.trials] == [TrialState.WAITING, TrialState.COMPLETE, TrialState.WAITING]
    assert [resume_trial(study, number).number for number in (2, 0)] == [2, 0]
    assert study.trials[2].state is TrialState.RUNNING and study.trials[2].params == {"epochs": 5}


def test_a_trial_costs_the_storage_the_same_among_few_and_among_many(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    template = nested()
    study = open_study(template.sweep, tmp_path)
    statements: list[str] = []
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    def cost() -> tuple[int, int]:
        """Statements that a trial needs from its begin to its end, and those that lay the running ones aside."""
        statements.clear()
        end(begin_trial(study, asked(template), {}), template, row())
        each = len(statements)
        mark_waiting(study)
        return each, len(statements) - each

    few = cost()
    for number in range(60):
        trial = begin_trial(study, asked(template), {})
        if number % 2:
            end(trial, template, row())
    study.trials[0]  # the cache in front of the database has been filled
    mark_waiting(study)
    assert cost() == few
