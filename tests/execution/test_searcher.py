"""What the searcher proposes, leaves on disk, and tells the study."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from upath import UPath

from codeq.config import SweepConfig, Template
from codeq.execution.searcher import OptunaSearcher
from codeq.search.outcome import StudyReport, TrialEnd
from codeq.search.study import mark_waiting, open_study
from codeq.search.warm_start import WarmStartTrial
from codeq.storage.trial_folder import trial_folder, trial_folders
from tests.search.conftest import FINITE, ended, row
from tests.search.test_samplers import SAMPLERS

LR = "optimizer.param_groups.base.lr"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Template:
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}
    del tiny["threads"]
    return Template.load(write_yaml({**tiny, "sweep": {"resources": {"cpu": 2}}}))


@pytest.fixture
def searcher(template: Template, tmp_path: Path) -> OptunaSearcher:
    return OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path))


def study(searcher: OptunaSearcher) -> Any:
    return searcher._study


def test_a_proposal_is_numbered_as_in_the_study_and_kept_on_disk(searcher: OptunaSearcher, tmp_path: Path) -> None:
    proposals = [searcher.suggest(f"id{i}") for i in range(3)]
    assert [proposal["trial"] for proposal in proposals] == [0, 1, 2]
    folder = trial_folder(UPath(tmp_path), 2)
    record = folder.read_record()
    assert proposals[2]["folder"] == str(folder.path)
    assert folder.read_config().optimizer.param_groups.base.lr == study(searcher).trials[2].params[LR]
    assert record is not None and record.status == "running"
    assert record.parameters == study(searcher).trials[2].params
    assert set(record.parameters) == {LR}


def test_the_study_shows_whose_trial_it_is(searcher: OptunaSearcher, tmp_path: Path) -> None:
    searcher.suggest("id0")
    config = trial_folder(UPath(tmp_path), 0).read_config()
    (trial,) = study(searcher).trials
    assert trial.state is TrialState.RUNNING
    assert {name: value for name, value in trial.user_attrs.items() if name != "key"} == {
        "run_name": config.run_name, "seed": config.seed, "config_hash": config.config_hash,
    }  # fmt: skip
    searcher.tell("id0", ended(status="diverged", reason="loss is nan"))
    shown = study(searcher).trials[0].user_attrs
    assert (shown["status"], shown["reason"]) == ("diverged", "loss is nan")


def test_the_threads_of_a_trial_are_kept_in_its_config(searcher: OptunaSearcher, tmp_path: Path) -> None:
    searcher.suggest("id")
    assert trial_folder(UPath(tmp_path), 0).read_config().threads == 2


def test_a_relative_data_folder_is_the_drivers(searcher: OptunaSearcher) -> None:
    assert searcher.suggest("id")["place"]["data_dir"] == str(Path("data").absolute())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_takes_a_sweep_to_its_end(
    nested: Callable[..., Template], tmp_path: Path, sampler: str
) -> None:
    """Several objectives, conditional choices, constraints, a queue, all endings, and an interrupt in between."""
    queue = [{"epochs": 8, "quantizer": "name=uniform"}, {"epochs": 5, "quantizer": "null"}]
    template = nested(
        search={"sampler": sampler, "startup_trials": 4},
        objectives={"val_acc": "max", "rel_bops": "min"},
        constraints={"sparsity": ">= 0.4", "loss": "<= 0.5"},
        enqueue=queue,
    )
    statuses = itertools.cycle(["finished", "running", "finished", "collapsed", "diverged", "failed"])
    opened = open_study(template.sweep, tmp_path)
    for trials in (8, 6):
        searcher = OptunaSearcher(template, opened, UPath(tmp_path))
        for index in range(trials):
            searcher.suggest(f"id{index}")
            values = {"val_acc": 80.0 + index, "rel_bops": index % 3 / 3, "sparsity": index % 5 / 5, "epoch": 2}
            if index < 7:  # the eighth trial is interrupted, and goes on as the first of the next six
                searcher.tell(f"id{index}", ended(**values, status=next(statuses)))
        mark_waiting(opened)
    trials = opened.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert len(trials) == 13 == len({tuple(trial.params.items()) for trial in trials})
    assert [{name: trial.params[name] for name in queue[0]} for trial in trials[:2]] == queue
    folders = [folder.read_record() for folder in trial_folders(UPath(tmp_path))]
    assert [(record.trial, record.parameters) for record in folders] == [(t.number, t.params) for t in trials]
    assert all(t.user_attrs["status"] == "finished" and t.state is TrialState.COMPLETE for t in opened.best_trials)


def test_unfinished_trials_go_on_under_their_number_before_new_ones(
    searcher: OptunaSearcher, template: Template, tmp_path: Path
) -> None:
    first = searcher.suggest("id0")
    searcher.suggest("id1")
    searcher.tell("id1", ended())
    mark_waiting(study(searcher))
    again = OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path))
    resumed = again.suggest("new0")
    assert resumed["trial"] == 0
    assert resumed == first
    assert again.suggest("new1")["trial"] == 2
    again.tell("new0", ended())
    trial = study(again).trials[0]
    assert trial.state is TrialState.COMPLETE


def test_a_trial_that_was_begun_and_never_written_down_is_written_down_under_its_number(
    searcher: OptunaSearcher, template: Template, tmp_path: Path
) -> None:
    first = searcher.suggest("id0")
    shutil.rmtree(tmp_path / "trials")  # as if the driver had been killed before
    mark_waiting(study(searcher))
    again = OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path))
    assert again.suggest("new0") == first
    assert trial_folder(UPath(tmp_path), 0).read_record() is not None


def test_configs_to_try_first_are_tried_first_and_once_though_the_sweep_is_interrupted(
    nested: Callable[..., Template], tmp_path: Path
) -> None:
    queue = [{"epochs": 8}, {"epochs": 8}, {"quantizer": "name=uniform"}]
    template = nested(enqueue=queue)
    OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path)).suggest("id0")
    opened = open_study(template.sweep, tmp_path)
    mark_waiting(opened)
    again = OptunaSearcher(template, opened, UPath(tmp_path))
    for index in range(4):
        again.suggest(f"new{index}")
    assert [trial.user_attrs.get("enqueued") for trial in opened.trials] == [*queue, None]


def test_a_resumed_search_remembers_what_it_has_learned(nested: Callable[..., Template], tmp_path: Path) -> None:
    template = nested(constraints={"val_acc": ">= 95"})
    opened = open_study(template.sweep, tmp_path)
    searcher = OptunaSearcher(template, opened, UPath(tmp_path))
    for index, status in enumerate(["finished", "running", "collapsed", "failed"]):
        searcher.suggest(f"id{index}")
        searcher.tell(f"id{index}", ended(status=status))
    again = OptunaSearcher(template, opened, UPath(tmp_path))

    def learned(searcher: OptunaSearcher) -> list[Any]:
        known = searcher._sampler_study._study.trials
        return [(trial.state, trial.values, trial.constraints, trial.params) for trial in known]

    assert learned(again) == learned(searcher)
    assert learned(again)[0][:3] == (TrialState.COMPLETE, [90.0, 0.5], {"val_acc": 0.05})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_a_warm_start_does_not_draw_the_other_sweeps_trials_again(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, sampler: str
) -> None:
    """Fewer than startup_trials are known: what comes next is as random as they were."""
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}
    template = Template.load(write_yaml({**tiny, "sweep": {"search": {"sampler": sampler}}}))
    drawn: list[Any] = []
    for name in ("other", "warm"):
        known = [WarmStartTrial(parameters, TrialEnd("finished", "", row())) for parameters in drawn]
        opened = open_study(template.sweep, tmp_path / name)
        searcher = OptunaSearcher(template, opened, UPath(tmp_path / name), warm_start=known)
        for index in range(4):
            searcher.suggest(f"id{index}")
        drawn += [trial.params for trial in opened.trials]
    assert len({parameters[LR] for parameters in drawn}) == 8


def test_what_the_sampler_learns_can_be_replaced(template: Template, tmp_path: Path) -> None:
    def learn_nothing(ending: TrialEnd, sweep: SweepConfig) -> StudyReport:
        return StudyReport(TrialState.FAIL)

    opened = open_study(template.sweep, tmp_path)
    searcher = OptunaSearcher(template, opened, UPath(tmp_path), learn=learn_nothing)
    searcher.suggest("id0")
    searcher.tell("id0", ended())
    assert searcher._sampler_study._study.trials[0].state is TrialState.FAIL
    assert opened.trials[0].state is TrialState.COMPLETE


def test_where_nothing_is_left_to_try_the_search_ends_and_says_so(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = Template.load(write_yaml({**tiny, "epochs": FINITE["epochs"]}))
    assert template.sweep.trials == 3
    searcher = OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path))
    found = [searcher.suggest(f"id{index}") for index in range(4)]
    assert found[-1] == Searcher.FINISHED and Searcher.FINISHED not in found[:-1]
    assert "the search ends: all 3 configs" in caplog.text
    assert len(study(searcher).trials) == 3


def test_a_report_of_a_running_trial_costs_the_search_nothing(searcher: OptunaSearcher, tmp_path: Path) -> None:
    searcher.suggest("id")
    before = (tmp_path / "study.db").read_bytes()
    searcher.on_trial_result("id", row(status="running"))
    assert (tmp_path / "study.db").read_bytes() == before


# A study that another program has locked


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], sqlite3.Connection]]:
    """Locks the study as a reader (SHARED, as a dashboard's long query) or a writer (EXCLUSIVE, as a backup)."""
    monkeypatch.setattr("codeq.search.study.SQLITE_TIMEOUT_S", 0.05)
    monkeypatch.setattr("codeq.execution.searcher.STUDY_AGAIN_S", 0.0)
    opened: list[sqlite3.Connection] = []

    def lock(kind: str) -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
        opened.append(connection)
        connection.execute(f"BEGIN {'DEFERRED' if kind == 'reader' else 'EXCLUSIVE'}")
        connection.execute("SELECT COUNT(*) FROM trials").fetchone()
        return connection

    yield lock
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_a_locked_study_delays_new_trials_and_loses_no_end(
    template: Template, tmp_path: Path, lock: Callable[[str], sqlite3.Connection], kind: str,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("codeq.storage.atomic_files._warned", set())
    searcher = OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path))
    # The values are those of a sweep that nobody disturbs.
    undisturbed = OptunaSearcher(template, open_study(template.sweep, tmp_path / "other"), UPath(tmp_path / "other"))
    for number in range(4):
        undisturbed.suggest(f"id{number}")
        undisturbed.tell(f"id{number}", ended(val_acc=80.0 + number))
    searcher.suggest("id0")
    held = lock(kind)
    searcher.tell("id0", ended(val_acc=80.0))
    assert [searcher.suggest("early"), searcher.suggest("again")] == [None, None]
    assert not searcher.store_ends(wait_s=0.2)
    assert sum("the study cannot be used now" in message for message in caplog.messages) == 1
    held.execute("ROLLBACK")
    for number in range(1, 4):
        assert searcher.suggest(f"id{number}") is not None
        searcher.tell(f"id{number}", ended(val_acc=80.0 + number))
    assert searcher.store_ends()
    told = [[(t.number, t.params, t.state, t.values) for t in study(s).trials] for s in (searcher, undisturbed)]
    assert told[0] == told[1]
