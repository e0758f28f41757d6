"""A loss replayed from CUDA graphs: on a GPU the real thing, without one what PyTorch is given to record."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeq.quant import attach_weight_quantizers
from codeq.train.cuda_graph import can_capture, captured
from codeq.train.step import eager_step, quickest_step
from codeq.train.training_loss import TrainingLoss
from tests.train.test_training_loss import TERMS, batch, network

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_only_a_gpu_has_graphs() -> None:
    assert can_capture(torch.device("cuda")) and not can_capture(torch.device("cpu"))


def test_the_recorded_batch_is_not_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later batches are copied into it."""
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda *given, **_: asked.extend(given) or given[0])
    model, given = network(), batch()
    loss = TrainingLoss(model, model, TERMS)
    assert captured(loss, *given) is loss
    module, kept = asked
    assert module is loss
    assert all(torch.equal(a, b) and a is not b for a, b in zip(kept, given, strict=True))


def random_batch(seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    images, labels = torch.randn(4, 3, 16, 16, generator=random), torch.randint(10, (4,), generator=random)
    return images.cuda(), labels.cuda()


def gradients(model: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@on_a_gpu
@pytest.mark.parametrize("name", ["mlp", "resnet20", "vit"])
def test_replayed_it_has_the_loss_and_the_gradients_of_the_batch_at_hand(name: str) -> None:
    model = network(name).cuda().train()
    eager, replayed = TrainingLoss(model, model, TERMS), TrainingLoss(model, model, TERMS)
    replay = captured(replayed, *random_batch(0))
    for seed in range(1, 4):
        found = []
        for loss in (eager, replay):
            model.zero_grad(set_to_none=True)
            value, logits = loss(*random_batch(seed))
            value.backward()
            found.append((value.detach().clone(), logits.clone(), gradients(model)))
        torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)


class Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


@on_a_gpu
@pytest.mark.parametrize("last", [nn.Dropout(0.5), Reads()], ids=["dropout", "reads the device"])
def test_looking_for_the_quickest_step_leaves_a_model_that_trains(last: nn.Module) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10), last)
    attach_weight_quantizers(model, [], "deadzone", {})
    model.cuda()
    random = torch.cuda.get_rng_state()
    step = quickest_step(model, TERMS, random_batch(0), steps_left=1000)
    assert torch.equal(torch.cuda.get_rng_state(), random)
    model.train()
    for loss in (step.loss, eager_step(model, TERMS).loss):
        model.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        value = loss(*random_batch(1))[0]
        value.backward()
        assert value.isfinite() and all(p.grad is not None for p in model.parameters() if p.requires_grad)
