"""The report as a whole: constraints before dominance, and results that a broken checkpoint cannot take along."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.config.sweep import METRICS
from codeq.results.report import write_report
from codeq.train.trial_folder import TrialRecord, trial_folder

LR = "optimizer.param_groups.base.lr"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Callable[..., Template]:
    def load(**sweep: Any) -> Template:
        searched = {**tiny, "seed": {"distribution": "choice", "choices": [0, 1]}}
        return Template.load(write_yaml({**searched, "sweep": {"name": "s", **sweep}}))

    return load


def leave(folder: Path, tiny: dict[str, Any], number: int, status: Any = "finished", **metrics: float) -> None:
    trial = trial_folder(UPath(folder), number)
    trial.write_config(RunConfig.model_validate(tiny))
    trial.write_record(TrialRecord(number, "run", 0, {LR: 0.1}, status=status))
    row = {**dict.fromkeys(METRICS, 0.5), **metrics, "epoch": 4, "status": status, "reason": ""}
    trial.append_row(row)


def numbers(folder: Path) -> list[str]:
    with (folder / "pareto.csv").open() as file:
        return [row["trial"] for row in csv.DictReader(file)]


def test_a_trial_that_satisfies_the_constraints_wins_over_one_that_dominates_it_and_does_not(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    leave(tmp_path, tiny, 0, val_acc=99.0, sparsity=0.9, rel_bops=0.5)
    leave(tmp_path, tiny, 1, val_acc=98.0, sparsity=0.8, rel_bops=0.1)
    report = write_report(UPath(tmp_path), template(constraints={"rel_bops": "<= 0.2"}), measure_test=False)
    assert report.winner is not None and report.winner.record.trial == 1
    assert numbers(tmp_path) == ["1"]


def test_where_no_trial_satisfies_the_constraints_there_is_no_winner_and_no_stale_best_config(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    leave(tmp_path, tiny, 0, val_acc=90.0)
    (tmp_path / "best.yaml").write_text("of an earlier report")
    report = write_report(UPath(tmp_path), template(constraints={"val_acc": ">= 95"}), measure_test=False)
    assert report.winner is None
    assert numbers(tmp_path) == ["0"]
    assert not (tmp_path / "best.yaml").exists()


def test_a_checkpoint_that_cannot_be_read_costs_only_its_test_accuracy(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template], caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path, tiny, 0, val_acc=90.0)
    trial_folder(UPath(tmp_path), 0).checkpoint.write_bytes(b"rubbish")
    with caplog.at_level(logging.WARNING):
        report = write_report(UPath(tmp_path), template(), measure_test=True)
    assert report.winner is not None and report.winner.test_acc is None
    assert "trial 0: test accuracy could not be measured" in caplog.text
    assert (tmp_path / "best.yaml").exists() and numbers(tmp_path) == ["0"]


@pytest.mark.parametrize(("statuses", "expected"), [(["failed", "collapsed"], True), (["failed", "running"], False)])
def test_all_failed_means_that_every_trial_went_wrong(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template], statuses: list[str], expected: bool
) -> None:
    for number, status in enumerate(statuses):
        leave(tmp_path, tiny, number, status)
    assert write_report(UPath(tmp_path), template(), measure_test=False).all_failed is expected
