"""`use_compile: auto` takes the quickest way to compute a step, and leaves no trace of having looked for it."""

from __future__ import annotations

import copy
import logging
import math
import re
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from codeq.train import step as step_module
from codeq.train.step import Step, quickest_step
from codeq.train.training_loss import Forward, Loss, TrainingLoss

EAGER_S = 0.02
STEPS_LEFT = 100_000
BATCH = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


class Pace(nn.Module):
    """Takes its time."""

    seconds = EAGER_S

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
    return nn.Sequential(*layers, Pace()).eval()


@pytest.fixture
def at_pace(model: nn.Sequential) -> Callable[[float, Callable[..., Tensor]], Callable[..., Tensor]]:
    """What it is given, but at another pace; the outermost counts."""

    def paced(seconds: float, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def computed(*inputs: Tensor) -> Tensor:
            pace = model[-1]
            if pace.seconds != EAGER_S:
                return compute(*inputs)
            pace.seconds = seconds
            try:
                return compute(*inputs)
            finally:
                pace.seconds = EAGER_S

        return computed

    return paced


class Compiler:
    """Stands in for the compiler; `seconds` is what its step takes."""

    seconds = EAGER_S / 4
    asked = 0


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, at_pace: Callable[..., Forward]) -> Compiler:
    stand_in = Compiler()

    def compiled(model: nn.Module) -> Forward:
        stand_in.asked += 1
        return at_pace(stand_in.seconds, model)

    monkeypatch.setattr(step_module, "compiled", compiled)
    monkeypatch.setattr(step_module, "can_compile", lambda device: True)
    return stand_in


class Recorder:
    """Stands in for CUDA graphs. seconds: what a replay takes. scale: of the loss it replays."""

    seconds = EAGER_S / 20
    scale = 1.0
    made: list[Loss]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, model: nn.Sequential, at_pace: Callable[..., Loss]) -> Recorder:
    stand_in = Recorder()
    stand_in.made = []

    def captured(loss: TrainingLoss, images: Tensor, labels: Tensor) -> Loss:
        assert not torch.equal(labels, BATCH[1])

        def replay(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            value, logits = loss(images, labels)
            return value * stand_in.scale, logits

        stand_in.made.append(at_pace(stand_in.seconds, replay))
        return stand_in.made[-1]

    monkeypatch.setattr(step_module, "captured", captured)
    monkeypatch.setattr(step_module, "can_capture", lambda device: True)
    monkeypatch.setattr(step_module, "can_compile", lambda device: False)
    return stand_in


def chosen(model: nn.Module, steps_left: int = STEPS_LEFT) -> Step:
    return quickest_step(model, [], BATCH, steps_left)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def is_eager(step: Step, model: nn.Module) -> bool:
    return step.forward is model and isinstance(step.loss, TrainingLoss)


def test_a_long_run_that_compiling_speeds_up_is_compiled(
    model: nn.Module, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert chosen(model).forward is not model
    assert "100000 steps left: compiled" in caplog.text


def test_a_run_that_compiling_slows_down_is_not_compiled(model: nn.Module, compiler: Compiler) -> None:
    compiler.seconds = 3 * EAGER_S
    assert is_eager(chosen(model), model)


def test_compiling_must_be_paid_back_by_the_steps_left(
    model: nn.Module, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "MIN_COMPILE_S", 0)
    monkeypatch.setattr(step_module, "LATER_COMPILES", 1e6)
    assert is_eager(chosen(model), model)
    assert compiler.asked == 1


def test_a_short_run_is_not_compiled_even_to_try(model: nn.Module, compiler: Compiler) -> None:
    assert is_eager(chosen(model, steps_left=10), model)
    assert compiler.asked == 0


def test_without_a_compiler_a_run_trains_as_it_is(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_module, "can_compile", lambda device: False)
    with caplog.at_level(logging.INFO):
        assert is_eager(chosen(model), model)
    assert caplog.messages == ["use_compile: no compiler for cpu, training without"]


def test_a_failing_compiler_is_one_line_of_the_log(
    model: nn.Module, compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(model: nn.Module) -> Forward:
        def forward(images: Tensor) -> Tensor:
            raise RuntimeError("g++: no such header\nand a page more")

        return forward

    monkeypatch.setattr(step_module, "compiled", broken)
    assert is_eager(chosen(model), model)
    assert warned(caplog) == ["use_compile: compiling failed, training without: g++: no such header"]


SHORT = 200
"""Steps, too few to compile for."""


def test_a_run_that_is_too_short_to_compile_is_replayed_from_graphs(model: nn.Module, recorder: Recorder) -> None:
    found = chosen(model, SHORT)
    assert [found.loss] == recorder.made and found.forward is model


def test_graphs_that_are_no_quicker_are_not_used(model: nn.Module, recorder: Recorder) -> None:
    recorder.seconds = 3 * EAGER_S
    assert is_eager(chosen(model), model)
    assert len(recorder.made) == 1


def test_a_handful_of_steps_is_not_recorded(model: nn.Module, recorder: Recorder) -> None:
    assert is_eager(chosen(model, steps_left=10), model)
    assert recorder.made == []


def test_where_compiling_pays_the_compiled_step_is_recorded(
    model: nn.Module, recorder: Recorder, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = chosen(model)
    assert [found.loss] == recorder.made and found.forward is not model
    assert re.search(r" eager, .* compiled, .* compiled in CUDA graphs; .*: compiled in CUDA graphs$", caplog.text)


@pytest.mark.parametrize("scale", [1.1, math.nan])
def test_graphs_with_other_gradients_are_not_used(
    model: nn.Module, recorder: Recorder, caplog: pytest.LogCaptureFixture, scale: float
) -> None:
    recorder.scale = scale
    assert is_eager(chosen(model, SHORT), model)
    assert warned(caplog) == ["use_compile: no CUDA graphs of the step: replayed, it has other gradients"]


@pytest.mark.parametrize(
    "constant",
    [
        lambda loss, images, labels: lambda later, _: loss(later, labels),
        lambda loss, images, labels: lambda _, later: loss(images, later),
    ],
    ids=["labels", "images"],
)
def test_graphs_that_took_a_part_of_the_batch_for_constant_are_not_used(
    model: nn.Module,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    constant: Callable[..., Loss],
) -> None:
    monkeypatch.setattr(step_module, "captured", constant)
    assert is_eager(chosen(model, SHORT), model)
    assert "other gradients" in caplog.text


def test_a_model_that_cannot_be_recorded_trains_as_it_is(
    model: nn.Module, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> Loss:
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nand a page more")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(step_module, "captured", failing)
    assert is_eager(chosen(model, SHORT), model)
    wrong = "operation not permitted when stream is capturing"
    assert warned(caplog) == [f"use_compile: no CUDA graphs of the step: {wrong}"]


def test_looking_leaves_the_model_and_the_generators_as_they_were(
    model: nn.Module, recorder: Recorder, compiler: Compiler
) -> None:
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    chosen(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class Fails(nn.Module):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error("here")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_and_a_model_that_fails_as_it_is_are_not_taken_for_a_failing_compiler(
    model: nn.Sequential, compiler: Compiler, error: type[BaseException]
) -> None:
    model.append(Fails(error))
    with pytest.raises(error, match="here"):
        chosen(model)
    assert not model.training
