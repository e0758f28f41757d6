"""The report as a whole: constraints before dominance, and results that a broken checkpoint cannot take along."""

from __future__ import annotations

import csv
import html
import json
import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.config.paths import option_path
from codeq.config.sweep import METRICS
from codeq.results.page import write_page
from codeq.results.report import write_report
from codeq.results.retention import remove_unneeded_checkpoints
from codeq.results.tables import print_front
from codeq.results.winners import test_accuracy_here as measure
from codeq.storage.trial_folder import TrialFolder, TrialRecord, confirm_folder, trial_folder

LR = "optimizer.param_groups.base.lr"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Callable[..., Template]:
    def load(**sweep: Any) -> Template:
        searched = {**tiny, "seed": {"distribution": "choice", "choices": [0, 1]}}
        return Template.load(write_yaml({**searched, "sweep": {"name": "s", **sweep}}))

    return load


def leave(folder: Path, tiny: dict[str, Any], number: int, status: Any = "finished", **metrics: float) -> None:
    fill(trial_folder(UPath(folder), number), tiny, number, 0, status, **metrics)


def leave_confirmation(folder: Path, tiny: dict[str, Any], number: int, seed: int, **metrics: float) -> None:
    fill(confirm_folder(UPath(folder), number, seed), tiny, number, seed, **metrics)


def fill(
    trial: TrialFolder, tiny: dict[str, Any], number: int, seed: int, status: Any = "finished", **metrics: float
) -> None:
    trial.write_config(RunConfig.model_validate(tiny))
    trial.write_record(TrialRecord(number, "run", seed, {LR: 0.1}, status=status))
    trial.append_row({**dict.fromkeys(METRICS, 0.5), **metrics, "epoch": 4, "status": status, "reason": ""})
    trial.checkpoint.write_bytes(b"")


def header(folder: Path) -> str:
    return "".join(line for line in (folder / "best.yaml").read_text().splitlines(True) if line.startswith("#"))


def numbers(folder: Path) -> list[str]:
    with (folder / "pareto.csv").open() as file:
        return [row["trial"] for row in csv.DictReader(file)]


def test_a_trial_that_satisfies_the_constraints_wins_over_one_that_dominates_it_and_does_not(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    leave(tmp_path, tiny, 0, val_acc=99.0, sparsity=0.9, rel_bops=0.5)
    leave(tmp_path, tiny, 1, val_acc=98.0, sparsity=0.8, rel_bops=0.1)
    report = write_report(UPath(tmp_path), template(constraints={"rel_bops": "<= 0.2"}), measure_test=None)
    assert report.winner is not None and report.winner.record.trial == 1
    assert numbers(tmp_path) == ["1"]


def test_where_no_trial_satisfies_the_constraints_there_is_no_winner_and_no_stale_best_config(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    leave(tmp_path, tiny, 0, val_acc=90.0)
    (tmp_path / "best.yaml").write_text("of an earlier report")
    report = write_report(UPath(tmp_path), template(constraints={"val_acc": ">= 95"}), measure_test=None)
    assert report.winner is None
    assert numbers(tmp_path) == ["0"]
    assert not (tmp_path / "best.yaml").exists()


def test_a_checkpoint_that_cannot_be_read_costs_only_its_test_accuracy(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template], caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path, tiny, 0, val_acc=90.0)
    trial_folder(UPath(tmp_path), 0).checkpoint.write_bytes(b"rubbish")
    with caplog.at_level(logging.WARNING):
        report = write_report(UPath(tmp_path), template(), measure)
    assert report.winner is not None and report.winner.test_acc is None
    assert "trial 0: test accuracy could not be measured" in caplog.text
    assert (tmp_path / "best.yaml").exists() and numbers(tmp_path) == ["0"]


@pytest.mark.parametrize(("statuses", "expected"), [(["failed", "collapsed"], True), (["failed", "running"], False)])
def test_all_failed_means_that_every_trial_went_wrong(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template], statuses: list[str], expected: bool
) -> None:
    for number, status in enumerate(statuses):
        leave(tmp_path, tiny, number, status)
    assert write_report(UPath(tmp_path), template(), measure_test=None).all_failed is expected


def test_the_best_config_and_its_command_survive_names_that_look_like_variables(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    tiny["data_dir"] = str(tmp_path / "$HOME" / "~x")
    folder = tmp_path / "$NOT_SET $$"
    leave(folder, tiny, 0, val_acc=90.0)
    write_report(UPath(folder), template(), measure_test=None)
    *_, command = (line for line in header(folder).splitlines() if "Train it again: " in line)
    *_, argument = shlex.split(command)
    assert option_path("CONFIG", argument) == str(folder / "best.yaml")
    assert Template.load(folder / "best.yaml").run_config().data_dir == tiny["data_dir"]


@pytest.fixture
def three(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    """A sweep whose front is an accurate trial 0, a balanced trial 1 and a sparse trial 2; trial 3 is dominated."""
    leave(tmp_path, tiny, 0, val_acc=98.0, sparsity=0.1, rel_bops=0.3)
    leave(tmp_path, tiny, 1, val_acc=97.0, sparsity=0.8, rel_bops=0.2)
    leave(tmp_path, tiny, 2, val_acc=60.0, sparsity=0.9, rel_bops=0.1)
    leave(tmp_path, tiny, 3, val_acc=50.0, sparsity=0.05, rel_bops=0.01)
    return tmp_path


@pytest.mark.parametrize(
    ("pick", "constraints", "best", "said"),
    [
        (None, {}, 1, "knee in val_acc and sparsity, chosen on the validation split"),
        ("val_acc", {}, 0, "highest val_acc, chosen"),
        ("sparsity", {}, 2, "highest sparsity, chosen"),
        ("rel_bops", {}, 2, "lowest rel_bops, chosen"),
        (None, {"val_acc": ">= 55"}, 2, "highest sparsity with val_acc >= 55, chosen"),
        ("knee", {"val_acc": ">= 55"}, 1, "knee in val_acc and sparsity with val_acc >= 55, chosen"),
        (None, {"val_acc": ">= 97.5"}, 0, "highest sparsity with val_acc >= 97.5, chosen"),
    ],
)
def test_the_winner_is_the_knee_the_constrained_optimum_or_what_was_picked(
    three: Path, template: Callable[..., Template], pick: str | None, constraints: dict[str, str], best: int, said: str
) -> None:
    found = write_report(UPath(three), template(constraints=constraints), None, pick)
    assert found.winner is not None and found.winner.record.trial == best
    assert f"# Trial {best} of the sweep s" in header(three)
    assert said in header(three)


def test_the_summary_holds_the_front_its_hypervolume_and_the_winner(
    three: Path, template: Callable[..., Template]
) -> None:
    write_report(UPath(three), template(), None)
    summary = json.loads((three / "summary.json").read_text())
    assert (summary["front"], summary["winner"], summary["trials"]) == ([0, 1, 2], 1, {"finished": 4})
    assert summary["hypervolume"] == pytest.approx(0.98 * 0.1 + 0.97 * 0.7 + 0.6 * 0.1)
    assert summary["hypervolume_reference"] == {"val_acc": 0, "sparsity": 0}
    assert summary["selected_on"] == "the validation split"


def test_trials_that_miss_the_constraints_have_no_hypervolume(three: Path, template: Callable[..., Template]) -> None:
    assert write_report(UPath(three), template(constraints={"val_acc": ">= 99"}), None).hypervolume == 0
    assert json.loads((three / "summary.json").read_text())["winner"] is None


def test_a_choice_on_the_test_set_is_called_so(
    three: Path, tiny: dict[str, Any], template: Callable[..., Template], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny["val_fraction"] = 0
    found = write_report(UPath(three), template(), None)
    print_front(found, template())
    for text in (header(three), (three / "summary.json").read_text(), capsys.readouterr().out):
        assert "the test set (val_fraction is 0)" in text


def test_the_test_set_is_read_once_for_the_front_and_for_the_finished_runs_with_fresh_seeds(
    three: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    leave_confirmation(three, tiny, 1, seed=1)
    fill(confirm_folder(UPath(three), 1, 2), tiny, 1, 2, "collapsed")
    measured: list[str] = []

    def measure_one(folder: TrialFolder) -> float:
        measured.append(folder.path.name)
        return 80.0

    for _ in range(2):
        found = write_report(UPath(three), template(), measure_one)
        assert [trial.test_acc for trial in found.front] == [80.0] * 3
    assert sorted(measured) == ["0000", "0001", "0001_seed1", "0002"]
    assert "test_acc" in (three / "pareto.csv").read_text()
    assert "test_acc" not in (three / "trials.csv").read_text()  # nobody is to choose on it


def test_the_best_configs_header_tells_what_fresh_seeds_gave(
    three: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    for seed, val_acc in ((1, 95.0), (2, 97.0)):
        leave_confirmation(three, tiny, 1, seed, val_acc=val_acc)
    leave_confirmation(three, tiny, 0, 1, val_acc=11.0)
    write_report(UPath(three), template(), lambda folder: 90.0)
    assert "# 2 of 2 runs with fresh seeds finished (seeds 1, 2), mean ± std: val_acc 96 ± 1.414, " in header(three)
    assert "test_acc 90 ± 0" in header(three)


def test_a_winner_that_no_fresh_seed_repeats_is_told_in_the_header(
    three: Path, tiny: dict[str, Any], template: Callable[..., Template]
) -> None:
    fill(confirm_folder(UPath(three), 1, 1), tiny, 1, 1, "collapsed")
    write_report(UPath(three), template(), None)
    assert "# With fresh seeds none of 1 runs finished." in header(three)


def test_a_winner_whose_checkpoint_was_not_kept_is_told_with_the_command_that_measures_it(
    tmp_path: Path, tiny: dict[str, Any], template: Callable[..., Template], capsys: pytest.CaptureFixture[str]
) -> None:
    """The sweep goes on with constraints under which another trial wins than when it ended."""
    leave(tmp_path, tiny, 0, val_acc=90.0, sparsity=0.9, rel_bops=0.9)
    leave(tmp_path, tiny, 1, val_acc=80.0, sparsity=0.5, rel_bops=0.1)
    for constraints, winner in (({}, 0), ({"rel_bops": "<= 0.5"}, 1)):
        changed = template(constraints=constraints)
        found = write_report(UPath(tmp_path), changed, measure_test=lambda folder: 80.0)
        assert found.winner is not None and found.winner.record.trial == winner
        print_front(found, changed)
        said = " ".join(capsys.readouterr().out.split())
        remove_unneeded_checkpoints(found, changed.sweep)
        page = html.unescape(write_page(UPath(tmp_path), changed, found).read_text())
        command = f"python -m codeq.train {tmp_path}/trials/0001/config.yaml"
        told = "No test accuracy of trial 0001: checkpoints were kept for another front (sweep.keep_checkpoints). "
        assert (f"{told}To measure it, train again: {command}" in said) == (winner == 1)
        assert (f"{told}To measure it, train again: {command}" in page) == (winner == 1)
    assert found.winner.test_acc is None
