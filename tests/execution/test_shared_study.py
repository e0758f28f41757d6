"""Several drivers on one study, `sweep.study`: who trains what, and what of one that goes."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from upath import UPath

from codeq.config import Template
from codeq.execution.schedulers import build_scheduler
from codeq.execution.searcher import OptunaSearcher
from codeq.search.study import optuna_url
from codeq.search.sweep_state import SweepState, open_sweep
from codeq.storage.trial_folder import StateDamaged, trial_folder
from tests.search.conftest import ended, row

LR = "optimizer.param_groups.base.lr"
TRIALS = 12


BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.fixture
def database() -> str:
    return "sqlite"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> str:
    new_database = request.getfixturevalue("postgresql") if database == "postgresql" else None
    return new_database() if new_database else f"sqlite:///{tmp_path}/shared.db"


@pytest.fixture
def template(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, url: str
) -> Callable[..., Template]:
    """The template as the driver of that name has it, with a storage of its own."""
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}

    def load(driver: str, *overrides: str, **sweep: Any) -> Template:
        settings = {"name": "s", "trials": TRIALS, "study": url, "storage": str(tmp_path / driver), **sweep}
        return Template.load(write_yaml({**tiny, "sweep": settings}, f"{driver}.yaml"), overrides)

    return load


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come every tenth of a second, and are missed after three seconds."""
    monkeypatch.setattr("codeq.search.shared_study.SIGN_EVERY_S", 0.1)
    monkeypatch.setattr("codeq.search.shared_study.DEAD_AFTER_S", 3.0)
    monkeypatch.setattr("codeq.execution.searcher.OTHERS_AGAIN_S", 0.05)
    monkeypatch.setattr("codeq.execution.searcher.STUDY_AGAIN_S", 0.05)


def searcher_of(state: SweepState) -> OptunaSearcher:
    shared, before = state.shared, state.drivers_before
    return OptunaSearcher(state.template, state.study, state.folder, shared=shared, drivers_before=before)


def suggest(searcher: OptunaSearcher, name: str, seconds: float = 20) -> Any:
    """What the searcher proposes once it proposes anything, as Tune asks again and again."""
    deadline = time.monotonic() + seconds
    while (proposal := searcher.suggest(name)) is None:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return proposal


def drive(template: Template, meet: Any, killed_in: int | None = None) -> None:
    """A driver whose trials take a moment. All begin, and all train, at the same time; killed_in: the trial in which it
    is killed, and in which the others join it."""
    if killed_in is None:
        meet.wait(60)
    with open_sweep(template, resume=False) as state:
        searcher = searcher_of(state)
        if killed_in is None:
            meet.wait(60)
        for index in itertools.count():
            if suggest(searcher, f"id{index}") == Searcher.FINISHED:
                return
            if index == killed_in:
                meet.wait(60)
                meet.wait(60)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)
            searcher.tell(f"id{index}", ended())


def drive_at_once(templates: list[Template], killed_in: int | None = None) -> list[int | None]:
    """Each template's driver in a process of its own, the first of which may be killed; returns their exit codes."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(len(templates))
    killed = [killed_in, *(None for _ in templates[1:])]
    processes = [
        context.Process(target=drive, args=(template, together, trial))
        for template, trial in zip(templates, killed, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def stored(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=optuna_url(url)).trials


def check_each_trial_once(url: str, tmp_path: Path) -> None:
    trials = stored(url)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params[LR] for trial in trials}) == TRIALS
    for trial in trials:
        assert (Path(trial.user_attrs["folder"]) / "trials" / f"{trial.number:04d}" / "trial.json").exists()


@BOTH
def test_four_drivers_at_once_train_each_trial_once(
    template: Callable[..., Template], url: str, tmp_path: Path
) -> None:
    assert drive_at_once([template(driver) for driver in "abcd"]) == [0] * 4
    check_each_trial_once(url, tmp_path)
    folders = sorted(path.name for path in tmp_path.glob("?/s/trials/*"))
    assert folders == [f"{number:04d}" for number in range(TRIALS)]


@BOTH
def test_the_trials_of_a_killed_driver_are_ended_by_the_others(
    template: Callable[..., Template], url: str, tmp_path: Path
) -> None:
    assert drive_at_once([template(driver) for driver in "abc"], killed_in=2) == [-9, 0, 0]
    check_each_trial_once(url, tmp_path)


@contextlib.contextmanager
def driver(template: Template, resume: bool = False) -> Iterator[tuple[SweepState, OptunaSearcher]]:
    with open_sweep(template, resume) as state:
        yield state, searcher_of(state)


@BOTH
def test_a_trial_is_taken_over_from_its_checkpoint_and_its_first_driver_leaves_it_out(
    template: Callable[..., Template], url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with driver(template("a", trials=3)) as (first, searcher), driver(template("b", trials=3)) as (second, other):
        searcher.suggest("a0")
        searcher.suggest("a1")
        begun = trial_folder(first.folder, 0)
        begun.append_row(row(status="running", epoch=1))
        begun.checkpoint.write_bytes(b"a checkpoint")
        assert first.shared is not None
        first.shared._stop.set()  # it is suspended
        assert suggest(other, "b0")["trial"] == 2  # new trials come first
        assert other.suggest("b1") is None  # it has not been silent for long
        taken = suggest(other, "b1")
        folder = trial_folder(second.folder, 0)
        assert (taken["trial"], taken["folder"]) == (0, str(folder.path))
        assert folder.rows() == begun.rows() and folder.checkpoint.read_bytes() == b"a checkpoint"
        assert folder.read_config() == begun.read_config()
        searcher.tell("a0", ended(val_acc=1.0))  # it goes on, and does not know
        assert not begun.path.exists()
        assert stored(url)[0].state is TrialState.RUNNING
        other.tell("b1", ended(val_acc=2.0))
        other.tell("b0", ended(val_acc=3.0))
        assert suggest(other, "b2")["trial"] == 1
        other.tell("b2", ended(val_acc=4.0))
        assert suggest(other, "b3") == Searcher.FINISHED
    assert [trial.values[0] for trial in stored(url)] == [2.0, 4.0, 3.0]
    assert "trial 0000: another driver has taken it over, its result here is left out" in caplog.text
    with driver(template("a", trials=3), resume=True) as (first, _):
        assert not trial_folder(first.folder, 1).path.exists()
        assert first.remaining == 0
    assert "trial 0001: another driver has taken it over" in caplog.text


def test_a_trial_whose_files_are_on_another_machine_begins_again_with_its_config(
    template: Callable[..., Template], url: str, tmp_path: Path
) -> None:
    with driver(template("a", trials=1)) as (first, searcher):
        searcher.suggest("a0")
        before = trial_folder(first.folder, 0)
        config = before.read_config()
        before.remove()
    with driver(template("b", trials=1), resume=True) as (second, other):
        assert suggest(other, "b0")["trial"] == 0
        assert trial_folder(second.folder, 0).read_config() == config
        other.tell("b0", ended())
    assert [trial.state for trial in stored(url)] == [TrialState.COMPLETE]


def test_a_driver_goes_on_with_its_own_trials_while_another_trains(
    template: Callable[..., Template], url: str, tmp_path: Path
) -> None:
    with driver(template("a")) as (_, searcher):
        searcher.suggest("a0")
        with driver(template("b")) as (_, other):
            other.suggest("b0")
        with driver(template("b"), resume=True) as (_, other):
            assert [other.suggest(name)["trial"] for name in ("b0", "b1")] == [1, 2]
            assert [trial.state for trial in stored(url)] == [TrialState.RUNNING] * 3
        assert [trial.state for trial in stored(url)] == [TrialState.RUNNING, *[TrialState.WAITING] * 2]


def test_a_driver_joins_while_another_trains_and_is_refused_afterwards(
    template: Callable[..., Template], tmp_path: Path
) -> None:
    with driver(template("a")) as (_, searcher):
        searcher.suggest("a0")
        with driver(template("b")) as (_, other):
            assert other.suggest("b0")["trial"] == 1
    with pytest.raises(StateDamaged, match="the study s holds 2 trials already; --resume goes on"):
        with driver(template("c")):
            pass


def test_a_driver_with_another_template_is_refused(template: Callable[..., Template], tmp_path: Path) -> None:
    with driver(template("a")), pytest.raises(StateDamaged, match="the study s: was begun with another template"):
        with driver(template("b", "epochs=9")):
            pass


def test_configs_to_try_first_are_tried_once_by_all_drivers_together(
    template: Callable[..., Template], url: str, tmp_path: Path
) -> None:
    queue = [{LR: 0.001}, {LR: 0.002}, {LR: 0.003}]
    with driver(template("a", enqueue=queue)) as (_, first), driver(template("b", enqueue=queue)) as (_, second):
        for index in range(3):
            first.suggest(f"a{index}")
            second.suggest(f"b{index}")
    assert [trial.user_attrs.get("enqueued") for trial in stored(url)] == [*queue, None, None, None]


def test_the_sampler_learns_from_the_trials_of_all_drivers(template: Callable[..., Template], tmp_path: Path) -> None:
    with driver(template("a")) as (_, first), driver(template("b")) as (_, second):
        for index, status in enumerate(("finished", "collapsed")):
            first.suggest(f"a{index}")
            first.tell(f"a{index}", ended(status=status, val_acc=70.0))
        first.suggest("a2")
        second.suggest("b0")
        learned = second._sampler_study._study.trials
        assert [trial.state for trial in learned] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
        assert learned[0].values[0] == 70.0


def test_trials_are_compared_with_those_of_all_drivers_at_a_rung(
    template: Callable[..., Template], tmp_path: Path
) -> None:
    scheduler = {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}
    decisions = []
    with contextlib.ExitStack() as stack:
        for name, scores in (("a", (90.0, 80.0)), ("b", (70.0, 95.0))):
            settings = {"objectives": {"val_acc": "max"}, "scheduler": scheduler}
            state, searcher = stack.enter_context(driver(template(name, **settings)))
            asha = build_scheduler(state.template, state.rows(), state.shared)
            for index, score in enumerate(scores):
                number = searcher.suggest(f"{name}{index}")["trial"]
                trial: Any = SimpleNamespace(config={"trial": number})
                result = row(status="running", epoch=1, val_acc=score)
                decisions.append(asha.on_trial_result(None, trial, result))  # type: ignore[arg-type]
    assert decisions == ["CONTINUE", "STOP", "STOP", "CONTINUE"]
    assert not (UPath(tmp_path) / "b" / "s" / "trials" / "0000").exists()


def test_a_driver_whose_name_is_lost_keeps_its_trials(template: Callable[..., Template], tmp_path: Path) -> None:
    """Otherwise they would be taken for those of another driver, and their folders deleted."""
    with open_sweep(template("a"), resume=False) as state:
        searcher = searcher_of(state)
        for name in ("done", "begun"):
            suggest(searcher, name)
        searcher.tell("done", ended())
        driver = state.shared.driver if state.shared else ""
    (tmp_path / "a" / "s" / "driver").write_bytes(b"")
    with open_sweep(template("a"), resume=True) as state:
        assert state.shared is not None and state.shared.driver == driver
        assert suggest(searcher_of(state), "again")["trial"] == 1
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "moved" / "s" / "driver").unlink()
    with pytest.raises(StateDamaged, match="driver: damaged, and .* restore it"), open_sweep(template("moved"), True):
        pass
    assert (tmp_path / "moved" / "s" / "trials" / "0000" / "trial.json").exists()
