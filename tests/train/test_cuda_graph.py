"""A loss replayed from CUDA graphs: on a GPU the real thing, without one what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeq.config import RunConfig
from codeq.train.cuda_graph import CapturedLoss, can_capture
from codeq.train.loop import TrainState, build, fit
from codeq.train.step import Step
from codeq.train.training_loss import TrainingLoss
from tests.train.test_training_loss import TERMS, batch, network

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What PyTorch was asked to record; it stands for its own replay, as a module with another forward method does."""
    asked: list[Any] = []

    def graphs(module: nn.Module, batch: tuple[Tensor, Tensor], allow_unused_input: bool) -> nn.Module:
        asked.append((module, *batch))
        forward = module.forward
        module.forward = lambda *inputs: (forward(*inputs)[0] * 2, forward(*inputs)[1])
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", graphs)
    return asked


def test_only_a_gpu_has_graphs() -> None:
    assert can_capture(torch.device("cuda")) and not can_capture(torch.device("cpu"))


def test_a_batch_of_the_recorded_size_is_replayed_and_any_other_is_not(recorded: list[Any]) -> None:
    model = network()
    loss = TrainingLoss(model, model, TERMS)
    images, labels = batch()
    captured = CapturedLoss(loss, images, labels)
    assert captured(images, labels)[0] == 2 * loss(images, labels)[0]
    assert captured(images[:3], labels[:3])[0] == loss(images[:3], labels[:3])[0]


def test_the_recorded_batch_is_not_the_callers(recorded: list[Any]) -> None:
    """Later batches are copied into it."""
    model = network()
    given = batch()
    CapturedLoss(TrainingLoss(model, model, TERMS), *given)
    [(_, *kept)] = recorded
    assert all(torch.equal(a, b) and a is not b for a, b in zip(kept, given, strict=True))


@on_a_gpu
@pytest.mark.parametrize("model", ["mlp", "resnet20"])
def test_a_run_replayed_from_graphs_has_the_rows_of_one_that_is_not(
    tiny: dict[str, Any], model: str
) -> None:
    def rows(prepare: Callable[[TrainState], TrainState]) -> list[tuple[float, ...]]:
        config = RunConfig.model_validate({**tiny, "model": model, "device": "cuda", "epochs": 3})
        state = prepare(build(config))
        return [(row.loss, row.train_acc, row.val_acc, row.sparsity) for row in fit(state)]

    def in_graphs(state: TrainState) -> TrainState:
        buffers = {name: value.clone() for name, value in state.model.named_buffers()}
        loss = CapturedLoss(state.step.loss, *next(iter(state.data.train.epoch(0))))
        for name, value in state.model.named_buffers():
            value.copy_(buffers[name])
        return replace(state, step=Step(state.step.forward, loss))

    for eager, replayed in zip(rows(lambda state: state), rows(in_graphs), strict=True):
        assert replayed == pytest.approx(eager, rel=1e-3)
