"""The advice as a whole: what it rests on, what it says, and that it never costs a sweep its results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import Template
from codeq.results.advice import advice as advice_module
from codeq.results.advice import advise, write_advice
from codeq.results.advice.observations import MIN_TRIALS, observations
from codeq.results.trials import TrialResult
from tests.results.advice.conftest import DECAY, LR

Make = Callable[..., TrialResult]


@pytest.fixture(autouse=True)
def decay_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    def importances(template: Template, parameters: Sequence[Mapping[str, Any]], rows: Sequence[Any]) -> Any:
        assert len(parameters) == len(rows)
        return {"val_acc": {}, "sparsity": {DECAY: 0.75, LR: 0.25}}

    monkeypatch.setattr(advice_module, "importances", importances)


def test_trials_are_compared_at_the_last_epoch_that_nearly_all_reached(make_trial: Make) -> None:
    finished = [make_trial(i, epochs=4, sparsity=0.8) for i in range(12)]
    stopped = [make_trial(12 + i, {DECAY: float(i)}, status="stopped", epochs=2, sparsity=0.4) for i in range(8)]
    early = make_trial(20, status="stopped", epochs=1)
    wrong = [make_trial(21 + i, status=status, epochs=4) for i, status in enumerate(("collapsed", "failed", "running"))]
    seen = observations([*finished, *stopped, early, *wrong])
    assert seen is not None and seen.epoch == 2
    assert [row["epoch"] for row in seen.rows] == [2] * 20
    assert [row["sparsity"] for row in seen.rows] == [0.4] * 20
    assert [one[DECAY] for one in seen.parameters] == [5.0] * 12 + [float(i) for i in range(8)]


def test_too_few_trials_are_said_to_be_too_few(template: Template, make_trial: Make, tmp_path: Path) -> None:
    trials = [make_trial(i) for i in range(MIN_TRIALS - 1)]
    assert observations(trials) is None
    text = write_advice(UPath(tmp_path), template, trials, [])
    assert text == f"What mattered: {MIN_TRIALS - 1} healthy trials are too few to tell, {MIN_TRIALS} are needed.\n"


def test_a_single_healthy_trial_is_counted_as_one(template: Template, make_trial: Make, tmp_path: Path) -> None:
    text = write_advice(UPath(tmp_path), template, [make_trial(0)], [])
    assert text == f"What mattered: 1 healthy trial is too few to tell, {MIN_TRIALS} are needed.\n"


def test_the_advice_says_what_mattered_what_to_widen_what_is_equal_and_where_trials_collapse(
    template: Template, make_trial: Make, tmp_path: Path
) -> None:
    front = [
        make_trial(0, {DECAY: 2.0}, val_acc=90.0, sparsity=0.2),
        make_trial(1, {DECAY: 8.0}, val_acc=89.0, sparsity=0.8),
        make_trial(2, {DECAY: 9.6, LR: 1e-2}, val_acc=80.0, sparsity=0.9),
        make_trial(3, {DECAY: 7.0, LR: 1e-2}, val_acc=70.0, sparsity=0.95),
    ]
    front[2].record.parameters[LR] = front[3].record.parameters[LR] = 1e-2
    others = [make_trial(4 + i, status="stopped") for i in range(12)]
    wrong = [make_trial(16 + i, {LR: 1e-2, DECAY: 9.9}, status="collapsed") for i in range(3)]
    sweep = template.sweep
    text = write_advice(UPath(tmp_path), template, [*front, *others, *wrong], front)
    assert text.splitlines() == [
        "What mattered for val_acc (16 trials at epoch 4): nothing that chance does not explain.",
        f"What mattered for sparsity (16 trials at epoch 4): {DECAY} (75%), {LR} (25%).",
        f"Trial 0003, the best in sparsity, lies at the high end of {LR}: try a high above 0.01.",
        "Other ranges are another sweep: --name NAME; "
        f"--set sweep.search.warm_start={sweep.storage}/{sweep.name} lets it learn from this one.",
        "Trials 0000 and 0001 differ by at most 1.00 points of val_acc, whose noise on 400 images is ±1.50: "
        "treat them as equal, choose by sparsity (trial 0001).",
        f"All 3 collapsed trials have {DECAY} above 9.6, no healthy one has.",
    ]
    assert (tmp_path / "advice.txt").read_text() == text


def test_a_sweep_that_has_tried_every_config_says_what_gives_more(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], make_trial: Make, tmp_path: Path
) -> None:
    def advice(requested: int, trials: int) -> list[str]:
        tiny["batch_size"] = {"distribution": "choice", "choices": [16, 32, 64]}
        template = Template.load(write_yaml({**tiny, "sweep": {"name": "s", "trials": requested}}))
        return write_advice(UPath(tmp_path), template, [make_trial(i) for i in range(trials)], []).splitlines()[1:]

    assert advice(20, 3) == [
        "20 trials were asked for, but only 3 configs can be drawn; all have been tried: widen a range or add choices.",
        "Other ranges are another sweep: --name NAME; "
        "--set sweep.search.warm_start=results/s lets it learn from this one.",
    ]
    assert advice(20, 2) == advice(3, 3) == []


def test_winners_that_differ_are_said_to_differ(template: Template, make_trial: Make, tmp_path: Path) -> None:
    front = [make_trial(0, val_acc=90.0), make_trial(1, val_acc=80.0)]
    text = write_advice(UPath(tmp_path), template, front, front)
    assert text.endswith("The winners differ in val_acc by more than its noise on 400 images (±1.50 for the best).\n")


def test_no_error_in_the_advice_reaches_the_sweep(
    template: Template,
    make_trial: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> Any:
        raise RuntimeError("no such distribution\nand more")

    monkeypatch.setattr(advice_module, "importances", fail)
    with caplog.at_level(logging.WARNING):
        assert write_advice(UPath(tmp_path), template, [make_trial(i) for i in range(20)], []) == ""
    assert [record.getMessage() for record in caplog.records] == ["no advice: no such distribution"]


def test_trials_without_a_single_epoch_and_an_empty_front_are_no_error(template: Template, make_trial: Make) -> None:
    advice = advise(template, [make_trial(0, status="failed", epochs=0)], [])
    assert (advice.observed, advice.epoch, list(advice.boundary_hits), advice.accuracies) == (0, None, [], None)
    assert not advice.failures


def test_a_config_that_searches_nothing_gets_no_advice(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], make_trial: Make, tmp_path: Path
) -> None:
    plain = Template.load(write_yaml({**tiny, "sweep": {"name": "plain"}}, "plain.yaml"))
    assert write_advice(UPath(tmp_path), plain, [make_trial(0)], [make_trial(0)]) == ""
    assert not (tmp_path / "advice.txt").exists()


def test_where_no_trial_meets_the_constraints_nobody_is_told_which_to_choose(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], make_trial: Make
) -> None:
    front = [make_trial(0, val_acc=90.0, sparsity=0.2), make_trial(1, val_acc=89.5, sparsity=0.8)]

    def ties(bound: str) -> Any:
        template = Template.load(write_yaml({**tiny, "sweep": {"constraints": {"val_acc": bound}}}))
        return advise(template, front, front).accuracies

    assert ties(">= 80") is not None
    assert ties(">= 95") is None
