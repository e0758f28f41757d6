"""What is printed in the end: the front, its hypervolume, the choice, and the winners with fresh seeds."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import Template
from codeq.config.streams import SPELL
from codeq.config.sweep import METRICS
from codeq.results.sweep_result import SweepResult, analyze
from codeq.results.tables import columns_that_fit, print_confirmation, print_front, short_names
from codeq.results.trials import TrialResult
from codeq.storage.trial_folder import TrialFolder, TrialRecord

THREE = {"val_acc": "max", "sparsity": "max", "structured_sparsity": "max"}


def trial(number: int, val_acc: float, sparsity: float, status: Any = "finished", seed: int = 0) -> TrialResult:
    row = {**dict.fromkeys(METRICS, 0.5), "val_acc": val_acc, "sparsity": sparsity, "epoch": 4}
    record = TrialRecord(number, "run", seed, status=status, reason="" if status == "finished" else "fc1 is zero")
    return TrialResult(record, TrialFolder(UPath("unused")), row)


@pytest.fixture
def shown(
    tiny: dict[str, Any],
    write_yaml: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    monkeypatch.delenv("COLUMNS", raising=False)

    def show(trials: list[TrialResult], runs: list[TrialResult], pick: str | None = None, **sweep: Any) -> str:
        template = Template.load(write_yaml({**tiny, "sweep": sweep}))
        found: SweepResult = analyze(trials, runs, template, pick)
        print_front(found, template)
        print_confirmation(found, template)
        return capsys.readouterr().out

    return show


TRIALS = [trial(0, 98.0, 0.1), trial(1, 97.0, 0.8), trial(2, 60.0, 0.9)]


def test_the_front_is_followed_by_its_hypervolume_and_by_why_the_winner_won(shown: Callable[..., str]) -> None:
    said = shown(TRIALS, [])
    assert "Hypervolume 0.8370 of the box from val_acc 0, sparsity 0 to val_acc 100, sparsity 1." in said
    assert "* knee in val_acc and sparsity, chosen on the validation split." in said
    assert [line for line in said.splitlines() if "0001 *" in line and "97.00" in line]
    assert "fresh seeds" not in said


def test_a_column_is_headed_by_as_much_of_a_name_as_tells_it_from_the_others() -> None:
    branches = [f"optimizer.choices.{branch}.param_groups.base.lr" for branch in range(3)]
    names = [*branches, "optimizer.param_groups.dz.lr", "batch_size", "quantizer.kwargs.bits", "model.kwargs.bits"]
    assert short_names(names) == [
        *(f"choices.{branch}.param_groups.base.lr" for branch in range(3)),
        "dz.lr", "batch_size", "quantizer.kwargs.bits", "model.kwargs.bits",
    ]  # fmt: skip


def test_a_drawn_value_is_shown_as_the_template_spells_it(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    template = Template.load(write_yaml({**tiny, "img_size": {"distribution": "choice", "choices": [8, None]}}))
    for value, spelled in ((True, "true"), (None, "null"), (0.00012345, "0.0001234"), ("a text", "a text")):
        best = trial(0, 98.0, 0.1)
        best.record.parameters["img_size"] = value
        print_front(analyze([best], [], template), template)
        assert f" {spelled} " in capsys.readouterr().out


def test_every_metric_that_had_a_say_has_a_column(shown: Callable[..., str]) -> None:
    assert "loss" in shown(TRIALS, [], pick="loss").splitlines()[2]
    assert "structured_sparsity" in shown(TRIALS, [], objectives=THREE)
    assert "train_acc" in shown(TRIALS, [], constraints={"train_acc": ">= 0"})


def tables_in(said: str) -> list[list[list[str]]]:
    """The cells of every table, by row; the header is the first row."""
    tables: list[list[list[str]]] = []
    for line in said.splitlines():
        if line.startswith("┏"):
            tables.append([])
        elif line.startswith(("┃", "│")):
            tables[-1].append([cell.strip() for cell in re.split("[┃│]", line)[1:-1]])
    return tables


@pytest.mark.parametrize(("width", "parts"), [(200, 1), (80, 2), (40, 5)])
def test_what_does_not_fit_into_the_terminal_follows_in_further_tables(
    width: int, parts: int, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [trial(0, 96.0, 0.1, seed=1), trial(1, 95.0, 0.8, seed=1), trial(1, 97.0, 0.8, seed=2)]
    monkeypatch.setenv("COLUMNS", str(width))
    _, _, said = shown(TRIALS, runs, objectives=THREE).partition("Trained again")
    assert max(map(len, said.splitlines())) <= width
    tables = tables_in(said)
    assert len(tables) == parts
    for header, *rows in tables:
        assert header[0] == "trial" and [row[0] for row in rows] == ["0001 *", "0000"]
        for row in rows:
            assert all(re.fullmatch(r"|\d/\d|\d+\.\d+( ± \d+\.\d+)?", cell) for cell in row[1:]), row
    for cell in ("2/2", "96.00 ± 1.41", "0.8000 ± 0.0000", "0.5000 ± 0.0000", "0.50 ± 0.00"):
        assert f" {cell} │" in said


@pytest.mark.parametrize(
    ("widths", "available", "parts"),
    [
        ([4, 5, 5], 24, [[0, 1, 2]]),  # 1 + 7 + 8 + 8
        ([4, 5, 5], 23, [[0, 1], [0, 2]]),
        ([4, 5, 50, 5], 24, [[0, 1], [0, 2], [0, 3]]),  # a text that is too long is folded
        ([4], 24, []),
    ],
)
def test_every_table_has_the_first_column_and_as_many_others_as_fit(
    widths: list[int], available: int, parts: list[list[int]]
) -> None:
    assert columns_that_fit(widths, available) == parts


def test_a_terminal_without_the_characters_gets_a_straight_table(
    shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", SPELL, write_through=True))
    shown(TRIALS, [trial(1, 95.0, 0.8, seed=1), trial(1, 97.0, 0.8, seed=2)])
    said = written.getvalue().decode("ascii")
    assert "Trained again with fresh seeds: mean +- standard deviation" in said
    assert "| 96.00 +- 1.41 |" in said
    table = [line for line in said.partition("Trained")[2].splitlines() if line[:1] in ("+", "|")]
    assert len(table) == 5 and len({len(line) for line in table}) == 1


def test_one_objective_has_no_hypervolume(shown: Callable[..., str]) -> None:
    said = shown(TRIALS, [], objectives={"val_acc": "max"})
    assert "Hypervolume" not in said and "* highest val_acc" in said


def test_constraints_that_nobody_meets_are_named(shown: Callable[..., str]) -> None:
    said = shown(TRIALS, [], constraints={"val_acc": ">= 99", "rel_bops": "<= 0.1"})
    assert "No trial satisfies val_acc >= 99 and rel_bops <= 0.1: no best.yaml." in said
    assert "*" not in said


def test_fresh_seeds_are_shown_as_mean_and_spread_with_the_winner_first(shown: Callable[..., str]) -> None:
    runs = [trial(0, 96.0, 0.1, seed=1), trial(1, 95.0, 0.8, seed=1), trial(1, 97.0, 0.8, seed=2)]
    lines = shown(TRIALS, runs).splitlines()
    (winner,) = [line for line in lines if "96.00 ± 1.41" in line]
    (other,) = [line for line in lines if "1/1" in line]
    assert "0001 *" in winner and "2/2" in winner and "0.8000 ± 0.0000" in winner
    assert lines.index(winner) < lines.index(other)


def test_a_seed_that_went_wrong_and_a_constraint_that_the_mean_misses_are_said(shown: Callable[..., str]) -> None:
    runs = [trial(1, 95.0, 0.8, seed=1), trial(1, 96.0, 0.8, seed=2), trial(1, 10.0, 1.0, "collapsed", seed=3)]
    said = shown(TRIALS, runs, constraints={"val_acc": ">= 97"})
    assert "2/3" in said
    assert "trial 0001 seed 3: collapsed: fc1 is zero" in said
    assert "trial 0001 misses val_acc >= 97 in the mean: 95.50 ± 0.71" in said


def test_an_empty_front_is_said(shown: Callable[..., str]) -> None:
    assert "The Pareto front is empty" in shown([trial(0, 1.0, 0.1, "failed")], [])


def test_the_front_is_counted_and_its_objectives_are_listed(shown: Callable[..., str]) -> None:
    assert shown(TRIALS, [], objectives={"val_acc": "max"}).startswith("Pareto front: 1 trial, val_acc ")
    assert shown(TRIALS, [], objectives=THREE).startswith(
        "Pareto front: 3 trials, val_acc, sparsity and structured_sparsity "
    )


def test_a_front_of_which_no_trial_meets_the_constraints_has_no_hypervolume(shown: Callable[..., str]) -> None:
    assert "Hypervolume" not in shown(TRIALS, [], constraints={"val_acc": ">= 99"})


def test_of_no_trials_none_has_failed(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> None:
    template = Template.load(write_yaml(tiny))
    assert not analyze([], [], template).all_failed
    assert analyze([trial(0, 1.0, 0.1, "failed")], [], template).all_failed
