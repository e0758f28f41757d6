"""Fresh seeds: which they are, whom they go to, and what is made of their scores."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config.sweep import METRICS, Confirm
from codeq.results.confirmation import Confirmed, MeanStd, confirmed_trials, planned_runs, write_confirmation
from codeq.results.trials import TrialResult
from codeq.storage.trial_folder import TrialFolder, TrialRecord


def run(number: int, seed: int, val_acc: float = 90.0, status: Any = "finished", **record: Any) -> TrialResult:
    row = {**dict.fromkeys(METRICS, 0.5), "val_acc": val_acc, "epoch": 4}
    return TrialResult(TrialRecord(number, "run", seed, status=status, **record), TrialFolder(UPath("unused")), row)


def test_the_first_of_the_ranking_get_the_lowest_seeds_that_no_trial_of_the_sweep_had() -> None:
    trials = [run(0, seed=1), run(1, seed=0), run(2, seed=3), run(3, seed=1, status="stopped")]
    ranking = [trials[2], trials[0], trials[1]]
    assert planned_runs(trials, ranking, Confirm(top=2, seeds=3)) == [(2, 2), (2, 4), (2, 5), (0, 2), (0, 4), (0, 5)]


def test_fewer_winners_than_asked_for_are_all_there_are() -> None:
    trials = [run(0, seed=7)]
    assert planned_runs(trials, trials, Confirm(top=3, seeds=1)) == [(0, 0)]
    assert planned_runs(trials, [], Confirm()) == []


def test_runs_are_grouped_by_trial_in_the_order_of_the_ranking_and_others_come_last() -> None:
    runs = [run(9, 0), run(1, 1), run(1, 0), run(5, 0)]
    confirmed = confirmed_trials(runs, [run(5, 7), run(3, 7), run(1, 7)])
    assert [(c.trial, [r.record.seed for r in c.runs]) for c in confirmed] == [(5, [0]), (1, [0, 1]), (9, [0])]


def test_mean_and_sample_standard_deviation_are_of_the_finished_runs_only() -> None:
    confirmed = Confirmed(1, [run(1, 0, 90.0), run(1, 2, 94.0), run(1, 3, 10.0, status="collapsed")])
    assert confirmed.mean_std("val_acc") == MeanStd(92.0, statistics.stdev([90.0, 94.0]))
    assert confirmed.seeds == [0, 2]


def test_a_single_run_has_no_spread_and_none_has_no_mean() -> None:
    assert Confirmed(1, [run(1, 0, 90.0)]).mean_std("val_acc") == MeanStd(90.0, None)
    assert Confirmed(1, [run(1, 0, status="failed")]).mean_std("val_acc") is None
    assert Confirmed(1, [run(1, 0)]).mean_std("test_acc") is None


def test_a_spread_is_shown_in_the_format_of_a_number() -> None:
    assert f"{MeanStd(92.123, 0.456):.2f}" == "92.12 ± 0.46"
    assert f"{MeanStd(92.123, None):.1f}" == "92.1"


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_files_hold_a_row_per_trial_and_a_row_per_run(tmp_path: Path) -> None:
    runs = [run(1, 0, 90.0, test_acc=80.0), run(1, 2, 94.0, test_acc=82.0), run(1, 3, 1.0, "diverged", reason="nan")]
    write_confirmation(UPath(tmp_path), [Confirmed(1, runs)])
    (row,) = read(tmp_path / "confirm.csv")
    assert (row["trial"], row["runs"], row["finished"], row["seeds"]) == ("1", "3", "2", "0 2")
    assert (float(row["val_acc_mean"]), float(row["test_acc_mean"])) == (92.0, 81.0)
    assert float(row["test_acc_std"]) == pytest.approx(2**0.5)
    rows = read(tmp_path / "confirm_runs.csv")
    assert [(r["trial"], r["seed"], r["status"], r["test_acc"]) for r in rows] == [
        ("1", "0", "finished", "80.0"), ("1", "2", "finished", "82.0"), ("1", "3", "diverged", ""),
    ]  # fmt: skip


def test_a_sweep_that_confirms_nothing_has_no_such_files(tmp_path: Path) -> None:
    write_confirmation(UPath(tmp_path), [])
    assert list(tmp_path.iterdir()) == []
