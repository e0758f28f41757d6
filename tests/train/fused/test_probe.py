"""How many runs train together is measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from codeq.models.mlp import MLP
from codeq.train.fused import probe
from codeq.train.fused.probe import FusionPlan, choose_runs
from codeq.train.loop import TrainState
from tests.train.fused.conftest import Changes
from tests.train.fused.test_epoch import WithDropout, largest_difference

Runs = Callable[..., list[TrainState]]
EACH: list[Changes] = [{"batch_size": 32}]


@pytest.fixture
def step_s(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """What a run's step is said to take, by the number that train together; grows sixteenfold worse beyond."""
    times: dict[int, float] = {}
    monkeypatch.setattr(probe, "_seconds_per_run", lambda copies, runs: times.get(runs, 16.0))
    return times


def test_runs_are_doubled_while_that_pays(runs: Runs, step_s: dict[int, float]) -> None:
    step_s.update({1: 0.010, 2: 0.015, 4: 0.008, 8: 0.005, 16: 0.0049})
    choice = choose_runs(runs(EACH)[0])
    assert choice.runs == 8
    assert "8 together 0.50" in choice.reason
    assert choice.epoch_s[8] == pytest.approx(0.005 * 20)


def test_where_fusing_is_slower_runs_train_alone(runs: Runs, step_s: dict[int, float]) -> None:
    step_s.update({1: 0.010, 2: 0.012, 4: 0.011})
    assert choose_runs(runs(EACH)[0]).runs == 1


def test_a_long_step_is_not_tried_together(runs: Runs, step_s: dict[int, float]) -> None:
    step_s.update({1: 0.5})
    choice = choose_runs(runs(EACH)[0])
    assert (choice.runs, list(choice.epoch_s)) == (1, [1])


def test_memory_bounds_the_number(runs: Runs, step_s: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
    step_s.update({1: 0.010, 2: 0.005, 4: 0.001})
    state = runs(EACH)[0]
    a_run = 4 * 20_000 * 10  # ten times its parameters at least
    monkeypatch.setattr(probe.psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 3 * a_run))
    assert choose_runs(state).runs == 2


def test_measuring_leaves_the_run_as_it_is(runs: Runs) -> None:
    state, untouched = runs(EACH)[0], runs(EACH)[0]
    assert choose_runs(state).runs >= 1
    assert largest_difference(state.model, untouched.model) == 0.0
    assert not state.optimizer.state


def test_a_configured_number_is_taken_where_it_works(runs: Runs) -> None:
    assert choose_runs(runs(EACH)[0], requested=3).runs == 3


def test_what_cannot_train_together_says_why(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    built = probe.create_train_state

    def with_dropout(*arguments: object) -> TrainState:
        state = built(*arguments)  # type: ignore[arg-type]
        state.model.__class__ = WithDropout
        return state

    monkeypatch.setattr(probe, "create_train_state", with_dropout)
    choice = choose_runs(runs(EACH)[0], requested=3)
    assert choice.runs == 1
    assert "random" in choice.reason


def test_few_runs_train_alone_where_only_many_pay() -> None:
    choice = FusionPlan(8, "", {1: 1.0, 2: 1.5, 4: 0.9, 8: 0.5})
    assert [choice.is_faster(runs) for runs in (1, 2, 3, 4, 8, 9)] == [False, False, False, True, True, True]
    assert FusionPlan(4, "as configured").is_faster(2)


class WithSpare(MLP):
    def __init__(self, in_features: int, hidden: list[int], num_classes: int) -> None:
        super().__init__(in_features, hidden, num_classes)
        self.spare = nn.Linear(2, 2)


def test_a_model_with_a_parameter_that_gets_no_gradient_trains_alone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeq.models.mlp.MLP", WithSpare)
    choice = choose_runs(runs(EACH)[0], requested=3)
    assert choice.runs == 1
    assert re.search(r"spare\.\S+ gets no gradient", choice.reason)


def test_running_out_of_memory_keeps_what_was_measured(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(copies: object, number: int) -> float:
        if number == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {1: 0.010, 2: 0.006, 4: 0.003}[number]

    monkeypatch.setattr(probe, "_seconds_per_run", seconds)
    assert choose_runs(runs(EACH)[0]).runs == 4
