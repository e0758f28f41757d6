"""The stacked optimizers do to every row what torch's do to one run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from codeq.config.run import OptimizerConfig
from codeq.train.fused.optimizer import (
    RunByRunOptimizer,
    StackedAdam,
    StackedOptimizer,
    StackedSgd,
    stack_optimizer,
)
from codeq.train.fused.stack import Group
from codeq.train.optimizer import build_optimizer

STEPS, SHAPES = 5, [(3, 4), (4,), ()]
CASES: list[tuple[type[Optimizer], type[StackedOptimizer], list[dict[str, Any]]]] = [
    (AdamW, StackedAdam, [{"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.0}, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1}]),
    (AdamW, StackedAdam, [{"lr": 0.1, "amsgrad": True}, {"lr": 0.2, "amsgrad": True}]),
    (Adam, StackedAdam, [{"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.05}]),
    (SGD, StackedSgd, [{"lr": 0.1, "momentum": 0.9}, {"lr": 0.2}, {"lr": 0.1, "momentum": 0.5, "dampening": 0.3}]),
    (SGD, StackedSgd, [{"lr": 0.1, "momentum": 0.9, "nesterov": True}, {"lr": 0.1, "momentum": 0.5, "nesterov": True}]),
    (SGD, StackedSgd, [{"lr": 0.1, "weight_decay": 0.5, "momentum": 0.9}, {"lr": 0.2, "momentum": 0.1}]),
]


def parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(run: int, step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * run + step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def group_of(optimizers: list[Optimizer]) -> Group:
    rows = [optimizer.param_groups[0]["params"] for optimizer in optimizers]
    flat = torch.stack([torch.cat([p.detach().flatten() for p in row]) for row in rows])
    parts = flat.split([p.numel() for p in rows[0]], dim=1)
    leaves = {
        str(i): part.view(len(rows), *shape).requires_grad_()
        for i, (part, shape) in enumerate(zip(parts, SHAPES, strict=True))
    }
    return Group(0, flat, list(leaves), leaves)


@pytest.mark.parametrize("by_row", [True, False], ids=["run by run", "stacked"])
@pytest.mark.parametrize(("kind", "stacked", "options"), CASES)
def test_rows_and_states_equal_torchs(
    kind: type[Optimizer], stacked: type[StackedOptimizer], options: list[dict[str, Any]], by_row: bool
) -> None:
    def optimizers() -> list[Optimizer]:
        made = [kind(parameters(run), **own) for run, own in enumerate(options)]  # type: ignore[call-arg]
        for run in range(0, len(made), 2):  # every other run has trained before
            step(made[run], run, -1)
        return made

    def step(optimizer: Optimizer, run: int, number: int) -> None:
        for parameter, gradient in zip(optimizer.param_groups[0]["params"], gradients(run, number), strict=True):
            parameter.grad = gradient
        optimizer.step()

    alone, together = optimizers(), optimizers()
    group = group_of(together)
    joint = RunByRunOptimizer(group, together) if by_row else stacked(group, together, STEPS)
    for number in range(STEPS):
        for run, optimizer in enumerate(alone):
            step(optimizer, run, number)
        by_run = [gradients(run, number) for run in range(len(options))]
        for leaf, own in zip(group.leaves.values(), zip(*by_run, strict=True), strict=True):
            leaf.grad = torch.stack(own)
        with torch.no_grad():
            joint.step()
    joint.write_back()
    for run, optimizer in enumerate(alone):
        expected = torch.cat([p.detach().flatten() for p in optimizer.param_groups[0]["params"]])
        torch.testing.assert_close(group.flat[run], expected, rtol=1e-5, atol=1e-6)
        for a, b in zip(optimizer.param_groups[0]["params"], together[run].param_groups[0]["params"], strict=True):
            kept = {name: value for name, value in optimizer.state[a].items() if value is not None}
            found = {name: value for name, value in together[run].state[b].items() if value is not None}
            assert found.keys() == kept.keys()
            for name, value in kept.items():
                torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "stacked"), [("adamw", StackedAdam), ("adam", StackedAdam), ("sgd", StackedSgd)]
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_runs_optimizers_are_stacked_where_that_is_quicker(kind: str, stacked: type, device: str) -> None:
    config = TypeAdapter(OptimizerConfig).validate_python({"type": kind, "param_groups": {"base": {"lr": 0.1}}})
    optimizers = [build_optimizer(config, nn.Linear(2, 3)) for _ in range(2)]
    group = Group(0, torch.zeros(2, 9, device=device), ["weight", "bias"], {})
    expected = RunByRunOptimizer if device == "cpu" else stacked
    assert type(stack_optimizer(group, optimizers, 3)) is expected
