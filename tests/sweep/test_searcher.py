"""What the searcher proposes, leaves on disk, and tells the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from upath import UPath

from codeq.config import ConfigError, RunConfig, Template
from codeq.config.errors import Mark, Problem
from codeq.sweep import searcher as searcher_module
from codeq.sweep.searcher import OptunaSearcher
from codeq.sweep.study import open_study
from codeq.train.trial_folder import trial_folder

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


ROW = {"val_acc": 90.0, "sparsity": 0.5, "reason": ""}


def test_a_proposal_is_numbered_as_in_the_study_and_kept_on_disk(searcher: OptunaSearcher, tmp_path: Path) -> None:
    proposals = [searcher.suggest(f"id{i}") for i in range(3)]
    assert [proposal["trial"] for proposal in proposals] == [0, 1, 2]
    folder = trial_folder(UPath(tmp_path), 2)
    record = folder.read_record()
    proposed = RunConfig.model_validate(proposals[2]["run_config"])
    assert folder.read_config() == proposed.model_copy(update={"data_dir": "data"})
    assert record is not None and record.status == "running"
    assert record.parameters == study(searcher).trials[2].params
    assert set(record.parameters) == {LR}


def test_the_threads_of_a_trial_are_kept_in_its_config(searcher: OptunaSearcher) -> None:
    assert searcher.suggest("id")["run_config"]["threads"] == 2


@pytest.mark.parametrize(
    ("result", "error", "state", "values"),
    [
        ({**ROW, "status": "finished"}, False, TrialState.COMPLETE, [90.0, 0.5]),
        ({**ROW, "status": "running"}, False, TrialState.PRUNED, None),
        ({**ROW, "status": "diverged", "reason": "loss is nan"}, False, TrialState.FAIL, None),
        ({**ROW, "status": "collapsed"}, False, TrialState.FAIL, None),
        ({**ROW, "status": "failed"}, False, TrialState.FAIL, None),
        (None, True, TrialState.FAIL, None),
    ],
)
def test_the_study_hears_how_a_trial_ended(
    searcher: OptunaSearcher, result: Any, error: bool, state: TrialState, values: Any
) -> None:
    searcher.suggest("id")
    searcher.on_trial_complete("id", result, error)
    (trial,) = study(searcher).trials
    assert trial.state is state
    assert trial.values == values


def test_the_reason_of_a_failure_is_a_user_attribute(searcher: OptunaSearcher) -> None:
    searcher.suggest("id")
    searcher.on_trial_complete("id", {**ROW, "status": "diverged", "reason": "loss is nan"})
    attributes = study(searcher).trials[0].user_attrs
    assert attributes["status"] == "diverged"
    assert attributes["reason"] == "loss is nan"


def test_unfinished_trials_go_on_under_their_number_before_new_ones(
    searcher: OptunaSearcher, template: Template, tmp_path: Path
) -> None:
    first = searcher.suggest("id0")
    searcher.suggest("id1")
    record = trial_folder(UPath(tmp_path), 0).read_record()
    assert record is not None
    again = OptunaSearcher(template, open_study(template.sweep, tmp_path), UPath(tmp_path), [replace(record)])
    resumed = again.suggest("new0")
    assert resumed["trial"] == 0
    assert resumed["run_config"] == first["run_config"]
    assert again.suggest("new1")["trial"] == 2
    again.on_trial_complete("new0", {**ROW, "status": "finished"})
    assert study(again).trials[0].state is TrialState.COMPLETE


def test_a_relative_data_folder_is_the_drivers(searcher: OptunaSearcher) -> None:
    assert searcher.suggest("id")["run_config"]["data_dir"] == str(Path("data").absolute())


def test_a_config_whose_values_do_not_fit_together_is_drawn_again(
    searcher: OptunaSearcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, refused = searcher._template.draw, [True, False]

    def draw_badly_once(suggest: Any) -> RunConfig:
        config = draw(suggest)
        if refused.pop(0):
            raise ConfigError([Problem(Mark("file.yaml", 3), "optimizer", "does not fit")])
        return config

    monkeypatch.setattr(searcher._template, "draw", draw_badly_once)
    assert searcher.suggest("id")["trial"] == 1
    first = study(searcher).trials[0]
    assert first.state is TrialState.FAIL
    assert first.user_attrs["reason"] == "file.yaml:3: optimizer: does not fit"


def test_a_space_without_a_valid_config_ends_with_an_error(
    searcher: OptunaSearcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searcher_module, "MAX_REDRAWS", 3)

    def invalid(suggest: Any) -> RunConfig:
        raise ConfigError([])

    monkeypatch.setattr(searcher._template, "draw", invalid)
    with pytest.raises(RuntimeError, match="3 configs in a row"):
        searcher.suggest("id")
