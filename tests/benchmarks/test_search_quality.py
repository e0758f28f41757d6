"""The replay of searches over recorded trials, on small tables made up here and on the recorded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_quality.replay import Curve, replay
from benchmarks.search_quality.searchers import RandomSearch, ours, stock, sweep_template
from benchmarks.search_quality.summary import Summary, markdown
from benchmarks.search_quality.table import RecordedTrial, Row, Table, Unused, read_table, write_table

OBJECTIVES = sweep_template().sweep.objectives
EPOCHS = sweep_template().max_epochs
NAMES = [parameter.name for parameter in sweep_template().parameters]


def rows(val_acc: float, sparsity: float, status: str = "finished", epochs: int = EPOCHS) -> list[Row]:
    each = {"val_acc": val_acc, "sparsity": sparsity, "rel_bops": 0.5, "reason": ""}
    return [{**each, "epoch": e, "status": "running" if e < epochs else status} for e in range(1, epochs + 1)]


def table(count: int = 30, seed: int = 0) -> Table:
    """Trials whose accuracy falls as their sparsity rises; the last one collapsed early, as sparse as can be."""
    randomness = np.random.default_rng(seed)
    trials = []
    for _ in range(count - 1):
        drawn = dict(zip(NAMES, randomness.uniform(0.01, 0.1, len(NAMES)).tolist(), strict=True))
        sparsity = float(randomness.uniform())
        trials.append(RecordedTrial(drawn, rows(95 - 10 * sparsity**2 - randomness.uniform(), sparsity)))
    collapsed = RecordedTrial(dict.fromkeys(NAMES, 0.05), rows(10, 1.0, "collapsed", epochs=6))
    return Table([*trials, collapsed], OBJECTIVES)


def test_random_search_pays_for_every_epoch_and_finds_all() -> None:
    curve = replay(table(), RandomSearch(table(), 0), seed=0)
    assert curve.hypervolume[-1] == pytest.approx(1.0)
    assert curve.spent[-1] == 29 * EPOCHS + 6
    assert curve.hypervolume == sorted(curve.hypervolume)


def test_a_replay_ends_when_its_budget_is_spent() -> None:
    whole, short = (replay(table(), RandomSearch(table(), 0), seed=0, budget=b) for b in (10_000, 10 * EPOCHS))
    assert whole.spent[-1] > 10 * EPOCHS == short.spent[-1]
    found = short.hypervolume[:-1]
    assert found == whole.hypervolume[: len(found)]


def test_a_replay_is_a_function_of_its_seed() -> None:
    curves = [replay(table(), RandomSearch(table(), seed), seed) for seed in (1, 1, 2)]
    assert curves[0] == curves[1] != curves[2]


def test_what_did_not_train_all_its_epochs_counts_for_nothing() -> None:
    class StopsEverything(RandomSearch):
        def goes_on(self, index: int, row: Row, *, is_last: bool) -> bool:
            return False

    curve = replay(table(), StopsEverything(table(), 0), seed=0)
    assert set(curve.hypervolume) == {0.0} and curve.spent[-1] == 30


def test_a_collapsed_trial_is_not_among_what_can_be_found() -> None:
    dense, sparse = RecordedTrial({"a": 1.0}, rows(90, 0.0)), RecordedTrial({"a": 2.0}, rows(80, 0.5))
    collapsed = RecordedTrial({"a": 3.0}, rows(99, 1.0, "collapsed", epochs=6))
    middle = RecordedTrial({"a": 4.0}, rows(85, 0.25))
    small = Table([dense, sparse, collapsed, middle], OBJECTIVES)
    assert small.hypervolume == pytest.approx(0.25)  # the middle of a square whose corners are the other two
    assert small.hypervolume_of([0, 1]) == 0


def test_the_nearest_config_is_one_that_is_unused() -> None:
    places = ((0.1, 1.0), (1.0, 10.0), (0.1, 100.0))
    trials = [RecordedTrial({"a": a, "b": b}, rows(90 + a, 0.005 * b)) for a, b in places]
    small = Table(trials, OBJECTIVES)
    unused: Unused = np.array([True, True, True])
    assert small.nearest({"a": 0.11, "b": 90.0}, unused) == 2
    unused[2] = False
    assert small.nearest({"a": 0.11, "b": 90.0}, unused) == 0


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    write_table(table().trials, path)
    assert read_table(OBJECTIVES, path).trials == table().trials
    assert read_table(OBJECTIVES, path, first=7).trials == table().trials[:7]


@pytest.mark.parametrize("make", ["ours", "stock"])
def test_a_tune_search_runs_through_the_table_and_stops_trials_early(make: str, tmp_path: Path) -> None:
    small = table()
    contestant = ours(small, 0, tmp_path) if make == "ours" else stock(small, 0)
    curve = replay(small, contestant, seed=0)
    assert 30 * 5 < curve.spent[-1] < 29 * EPOCHS
    assert 0 < curve.hypervolume[-1] <= 1


def test_the_summary_tells_costs_against_the_baseline() -> None:
    quick, slow = Curve([0, 10, 20], [0, 0.5, 1.0]), Curve([0, 80], [0, 1.0])
    summary = Summary({"quick": [quick, quick], "slow": [slow, slow]}, baseline="slow", trials=2)
    assert summary.cost("quick") == 20
    assert summary.behind("quick", "slow") == 0
    assert summary.behind("slow", "quick") == 1
    assert "| slow | 80 | 80 | 80 | 80 to 80 |" in markdown(summary)
    never = Summary({"quick": [quick], "slow": [Curve([0, 9], [0, 0.5])]}, baseline="slow", trials=2)
    assert "| quick | 20 | 20 | 20 | 20 to 20 | 1 of 1 |" in markdown(never)
    assert "| slow | never | never | never |  | 0 of 1 |" in markdown(never)
    assert "| quick | 20 (0.25) | 20 (0.25) | 20 (0.25) | 20 to 20 | 2 of 2 | 100.00 ± 0.00 | 20 |" in markdown(summary)
    partly = Summary({"quick": [Curve([0, 10], [0, 0.985])], "slow": [Curve([0, 80], [0, 1.0])]}, "slow", trials=2)
    assert "| quick | 10 (0.12) | never | never |  | 0 of 1 |" in markdown(partly)


def test_the_recorded_table_holds_what_its_command_records() -> None:
    recorded = read_table(OBJECTIVES)
    assert len(recorded.trials) == sweep_template().sweep.trials
    assert {len(trial.rows) for trial in recorded.trials if trial.finished} == {EPOCHS}
    assert all(set(trial.parameters) == set(NAMES) for trial in recorded.trials)
