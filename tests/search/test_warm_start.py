"""Trials of another sweep: which of them the sampler learns from, and that they are nobody's trials here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from upath import UPath

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.config.passwords import mask_password
from codeq.execution.searcher import OptunaSearcher
from codeq.search import warm_start
from codeq.search.servers import ServerUnavailable
from codeq.search.sweep_state import open_sweep
from codeq.search.warm_start import WarmStartTrial, warm_start_trials
from codeq.storage.trial_folder import trial_folder
from tests.search.conftest import ended

LR = "optimizer.param_groups.base.lr"
DECAY = "optimizer.param_groups.dz.weight_decay"
Load = Callable[..., Template]


def loguniform(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "loguniform", "low": low, "high": high}


@pytest.fixture
def load(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Load:
    """Loads a template called `name`, which searches what it is given by group and keeps its sweep in tmp_path."""

    def load(name: str, lr: Any = None, weight_decay: Any = 5.0, **sweep: Any) -> Template:
        groups = tiny["optimizer"]["param_groups"]
        groups["base"]["lr"], groups["dz"]["weight_decay"] = lr or loguniform(1e-3, 1e-1), weight_decay
        sweep = {"name": name, "storage": str(tmp_path), **sweep}
        return Template.load(write_yaml({**tiny, "sweep": sweep}, f"{name}.yaml"))

    return load


STATUSES = ("finished", "running", "collapsed", "failed")


@pytest.fixture
def other(load: Load, tmp_path: Path) -> Path:
    """The folder of a sweep of four trials that ended in four ways, and of a fifth that is unfinished."""
    queue = [{LR: lr} for lr in (0.002, 0.005, 0.01, 0.02, 0.05)]
    with open_sweep(load("other", enqueue=queue), resume=False) as state:
        searcher = OptunaSearcher(state.template, state.study, state.folder)
        for index, status in enumerate(STATUSES):
            searcher.suggest(f"id{index}")
            searcher.tell(f"id{index}", ended(status=status, sparsity=index / 10))
        searcher.suggest("unfinished")
    return tmp_path / "other"


def warm(load: Load, other: object, **more: Any) -> Template:
    search = {"warm_start": str(other), **more.pop("search", {})}
    return load("this", **{"search": search, **more})


def known(template: Template) -> list[WarmStartTrial]:
    return warm_start_trials(template, UPath(template.sweep.storage) / "this")


def test_trials_that_have_ended_are_known_with_their_rows(load: Load, other: Path) -> None:
    found = known(warm(load, other))
    assert [trial.parameters for trial in found] == [{LR: lr} for lr in (0.002, 0.005, 0.01)]
    assert [trial.end.status for trial in found] == ["finished", "stopped", "collapsed"]
    assert [trial.end.row["sparsity"] for trial in found] == [0.0, 0.1, 0.2]


def test_only_trials_within_this_sweeps_ranges_are_known(load: Load, other: Path) -> None:
    found = known(warm(load, other, lr=loguniform(4e-3, 1.0)))
    assert [trial.parameters for trial in found] == [{LR: lr} for lr in (0.005, 0.01)]


def test_a_parameter_that_the_other_sweep_did_not_search_is_left_open_for_tpe_alone(load: Load, other: Path) -> None:
    decay = loguniform(1.0, 9.0)
    assert len(known(warm(load, other, weight_decay=decay))) == 3
    with pytest.raises(BadInput, match="none of its 5 trials lies within"):
        known(warm(load, other, weight_decay=decay, search={"sampler": "gp"}))


def test_a_parameter_that_only_the_other_sweep_searched_is_left_out(load: Load, other: Path, tmp_path: Path) -> None:
    with open_sweep(load("both", weight_decay=loguniform(1.0, 9.0)), resume=False) as state:
        searcher = OptunaSearcher(state.template, state.study, state.folder)
        searcher.suggest("id")
        searcher.tell("id", ended())
    assert [set(trial.parameters) for trial in known(warm(load, tmp_path / "both"))] == [{LR}]


def test_the_sampler_knows_them_under_this_sweeps_constraints_and_nobody_else_does(load: Load, other: Path) -> None:
    template = warm(load, other, constraints={"val_acc": ">= 95"}, enqueue=[{LR: 0.002}])
    with open_sweep(template, resume=False) as state:
        searcher = OptunaSearcher(template, state.study, state.folder, state.warm_start)
        first = searcher.suggest("id")
        known = searcher._sampler_study._study.trials[:3]
        assert [trial.state for trial in known] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
        assert known[0].constraints == {"val_acc": 0.05}
        assert first["trial"] == 0
        lr = trial_folder(state.folder, 0).read_config().optimizer.param_groups.base.lr
        assert lr == 0.002  # tried there, not here
        assert len(state.study.trials) == 1 and state.remaining == template.sweep.trials
    with open_sweep(template, resume=True) as state:
        assert len(state.warm_start) == 3 and state.remaining == template.sweep.trials


def test_the_first_draws_come_from_what_is_known_and_not_from_chance(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = [{LR: 10 ** (-1 - 2 * index / 30)} for index in range(30)]
    with open_sweep(load("other", enqueue=queue), resume=False) as state:
        searcher = OptunaSearcher(state.template, state.study, state.folder)
        for index in range(30):
            searcher.suggest(f"id{index}")
            searcher.tell(f"id{index}", ended(val_acc=70.0 + index))  # the smaller the better

    def first_draws(template: Template) -> float:
        with open_sweep(template, resume=False) as state:
            searcher = OptunaSearcher(template, state.study, state.folder, state.warm_start)
            numbers = [searcher.suggest(f"id{i}")["trial"] for i in range(6)]
            configs = [trial_folder(state.folder, number).read_config() for number in numbers]
            return sum(config.optimizer.param_groups.base.lr for config in configs)

    assert first_draws(warm(load, tmp_path / "other")) < first_draws(load("cold")) / 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"search": {"warm_start": "no/such"}}, "is 'no/such': no such folder"),
        ({"objectives": {"val_acc": "max"}}, "its objectives are"),
        ({"objectives": {"val_acc": "max", "sparsity": "min"}}, "its objectives are"),
        ({"lr": 0.01, "weight_decay": loguniform(1.0, 9.0)}, f"searches none of {DECAY}"),
        ({"lr": loguniform(0.2, 0.9)}, "none of its 5 trials lies within this sweep's ranges"),
    ],
)
def test_a_sweep_that_teaches_nothing_is_bad_input_by_file_and_line(
    load: Load, other: Path, change: dict[str, Any], said: str
) -> None:
    template = warm(load, other, **change)
    with pytest.raises(BadInput) as raised, open_sweep(template, resume=False):
        pass
    lines = template.source.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "warm_start" in text)
    assert str(raised.value).startswith(f"{template.source}:{line}: sweep.search.warm_start: ")
    assert said in str(raised.value)


def test_folders_that_are_no_other_sweeps_are_refused(load: Load, tmp_path: Path, other: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish" / "study.db").write_text("rubbish" * 1000)
    for folder, said in (("empty", "is no sweep's folder"), ("rubbish", "not a database"), ("this", "own folder")):
        (tmp_path / folder).mkdir(exist_ok=True)
        with pytest.raises(BadInput, match=said):
            known(warm(load, tmp_path / folder))


SERVER = "postgresql://me:s3cret@host/db"


@pytest.fixture
def on_server(load: Load, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The study of `other` is on a server that knows one URL; the URLs with which it is opened."""
    (other / "template.yaml").write_text(load("other", study=SERVER).to_yaml())
    (other / "study.db").rename(tmp_path / "server.db")
    opened, load_study = [], optuna.load_study

    def connect(url: str) -> None:
        opened.append(url)
        if url != SERVER:
            raise ServerUnavailable(f"{mask_password(url)} cannot be used: no password supplied")

    def load_from_server(study_name: str, storage: str) -> optuna.Study:
        assert storage == SERVER
        return load_study(study_name=study_name, storage=f"sqlite:///{tmp_path}/server.db")

    monkeypatch.setattr(warm_start, "database_engine", lambda url: None)  # its driver is installed
    monkeypatch.setattr(warm_start, "check_database", connect)
    monkeypatch.setattr(optuna, "load_study", load_from_server)
    return opened


def test_a_study_on_this_sweeps_server_is_opened_with_the_password_that_no_file_holds(
    load: Load, other: Path, on_server: list[str]
) -> None:
    assert "postgresql://me:***@host/db" in (other / "template.yaml").read_text()
    assert len(known(warm(load, other, study=SERVER))) == 3
    assert on_server == [SERVER]


@pytest.mark.parametrize("study", [None, "postgresql://me:another@elsewhere/db"])
def test_the_client_may_know_the_password_of_a_study_on_another_server(
    load: Load, other: Path, on_server: list[str], study: str | None
) -> None:
    with pytest.raises(BadInput) as raised:
        known(warm(load, other, study=study))
    assert on_server == ["postgresql://me@host/db"]
    said = str(raised.value)
    assert "its study is postgresql://me:***@host/db, no file holds its password: " in said
    assert "set PGPASSWORD" in said and "no password supplied" in said and "another" not in said


def test_a_missing_driver_is_not_a_matter_of_passwords(
    load: Load, other: Path, on_server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine(url: str) -> None:
        raise ServerUnavailable("postgresql:// needs the driver psycopg: pip install psycopg")

    monkeypatch.setattr(warm_start, "database_engine", engine)
    with pytest.raises(BadInput, match=r"needs the driver psycopg: pip install psycopg$"):
        known(warm(load, other))
    assert on_server == []


def test_a_study_whose_server_cannot_be_used_is_bad_input(
    load: Load, other: Path, on_server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> None:
        raise ServerUnavailable("postgresql://me:***@host/db cannot be used: no answer within 10 s")

    monkeypatch.setattr(warm_start, "check_database", refuse)
    with pytest.raises(BadInput, match="sweep.search.warm_start: is .*cannot be used: no answer within 10 s"):
        known(warm(load, other, study=SERVER))
    assert on_server == []


def test_a_study_elsewhere_and_a_sweep_behind_a_url_are_found(load: Load, tmp_path: Path, other: Path) -> None:
    assert len(known(warm(load, f"file://{other}"))) == 3
    with open_sweep(load("far", study=f"sqlite:///{tmp_path}/far.db"), resume=False) as state:
        searcher = OptunaSearcher(state.template, state.study, state.folder)
        searcher.suggest("id")
        searcher.tell("id", ended())
    assert len(known(warm(load, tmp_path / "far"))) == 1
