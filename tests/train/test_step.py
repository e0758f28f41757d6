"""A training step, and what becomes of it where it is recorded as a CUDA graph."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from codeq.train.step import WARM_UP_STEPS, GraphedStep, TrainStep

CPU = torch.device("cpu")


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(6, 4, generator=random), torch.randint(3, (6,), generator=random)) for _ in range(count)
    ]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


class Loss:
    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(images)
        return F.cross_entropy(logits, labels), logits.detach()


def test_the_sums_are_those_of_the_epoch() -> None:
    model = network()
    step = TrainStep(Loss(model), SGD(model.parameters(), lr=0.0), CPU)
    for _ in range(2):
        step.begin_epoch()
        losses, correct = 0.0, 0
        for images, labels in batches(3):
            logits = copy.deepcopy(model)(images)
            losses += 6 * F.cross_entropy(logits, labels).item()
            correct += int((logits.argmax(1) == labels).sum())
            step(images, labels)
        assert step.sums() == (pytest.approx(losses, rel=1e-6), correct)


class FakeGraph:
    """Records nothing; a replay calls what the test gives it."""

    replayed = 0

    def replay(self) -> None:
        type(self).replayed += 1


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """CUDA as far as a step needs it; what happens while a step is recorded: "error" is raised, lrs are noted."""
    happens: dict[str, Any] = {"error": None, "groups": [], "active": False}

    @contextlib.contextmanager
    def graph(recorded: FakeGraph, **_: Any) -> Iterator[None]:
        happens["active"] = True
        try:
            yield
        finally:
            happens["active"] = False
        happens["groups"].append([dict(group) for group in happens["optimizer"].param_groups])
        if happens["error"]:
            raise happens["error"]

    class Stream:
        def __init__(self, device: Any = None) -> None: ...
        def wait_stream(self, other: Any) -> None: ...

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(FakeGraph, "replayed", 0)
    return happens


def test_a_step_is_replayed_once_it_is_warm(recording: dict[str, Any]) -> None:
    model = network()
    optimizer = recording["optimizer"] = SGD(model.parameters(), lr=0.1)
    step = GraphedStep(Loss(model), optimizer, CPU)
    given = batches(WARM_UP_STEPS + 3)
    for images, labels in given:
        step(images, labels)
    assert FakeGraph.replayed == 3
    assert torch.equal(step._batch[0], given[-1][0]) and torch.equal(step._batch[1], given[-1][1])
    assert step._batch[0] is not given[-1][0]


def test_the_recorded_step_reads_the_learning_rate_that_the_schedule_writes(recording: dict[str, Any]) -> None:
    model = network()
    optimizer = recording["optimizer"] = AdamW([{"params": list(model.parameters()), "lr": 0.1}])
    optimizer.step = lambda: None  # type: ignore[method-assign]  # a CPU's refuses to be recorded
    step = GraphedStep(Loss(model), optimizer, CPU)
    for images, labels in batches(WARM_UP_STEPS + 1):
        step(images, labels)
    ((recorded,),) = recording["groups"]
    assert recorded["lr"] is step._lrs[0] and recorded["capturable"] is True
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["capturable"]) == (0.1, False)
    optimizer.param_groups[0]["lr"] = 0.025
    step(*batches(1)[0])
    assert step._lrs[0].item() == pytest.approx(0.025)


def test_a_step_that_cannot_be_recorded_trains_as_it_is(
    recording: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def train(step_class: type[TrainStep]) -> nn.Module:
        model = network()
        optimizer = recording["optimizer"] = SGD(model.parameters(), lr=0.1, momentum=0.9)
        step = step_class(ReadsTheDevice(model, recording), optimizer, CPU)
        for images, labels in batches(WARM_UP_STEPS + 4):
            step(images, labels)
        return model

    expected = train(TrainStep)
    with caplog.at_level(logging.WARNING):
        found = train(GraphedStep)
    for a, b in zip(expected.state_dict().values(), found.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert [record.getMessage() for record in caplog.records] == [
        "The training step cannot be recorded as a CUDA graph: reads the device"
    ]


class ReadsTheDevice(Loss):
    def __init__(self, model: nn.Module, recording: dict[str, Any]) -> None:
        super().__init__(model)
        self.recording = recording

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.recording["active"]:
            raise RuntimeError("reads the device")
        return super().__call__(images, labels)


def test_a_lost_device_is_no_reason_to_go_on(recording: dict[str, Any]) -> None:
    class AcceleratorError(RuntimeError): ...

    recording["error"] = AcceleratorError("the device is gone")
    model = network()
    optimizer = recording["optimizer"] = SGD(model.parameters(), lr=0.1)
    step = GraphedStep(Loss(model), optimizer, CPU)
    *warm, last = batches(WARM_UP_STEPS + 1)
    for images, labels in warm:
        step(images, labels)
    with pytest.raises(AcceleratorError):
        step(*last)
