"""The learning rate of every epoch, against the formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from codeq.config import RunConfig
from codeq.train.schedule import build_schedule


def rates(tiny: dict[str, Any], epochs: int, **changes: Any) -> list[float]:
    config = RunConfig.model_validate({**tiny, "epochs": epochs, **changes})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(config, optimizer)
    seen = []
    for _ in range(epochs):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


def test_cosine_falls_from_lr_towards_zero_over_all_epochs(tiny: dict[str, Any]) -> None:
    expected = [(1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(10)]
    assert rates(tiny, 10, lr_scheduler="cosine") == pytest.approx(expected)


def test_constant_stays(tiny: dict[str, Any]) -> None:
    assert rates(tiny, 10, lr_scheduler="constant") == [1.0] * 10


def test_warmup_cosine_rises_linearly_and_then_falls_as_a_cosine(tiny: dict[str, Any]) -> None:
    seen = rates(tiny, 10, lr_scheduler="warmup_cosine", warmup_epochs=4)
    assert seen[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert seen[4:] == pytest.approx([(1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6)])


@pytest.mark.parametrize("warmup", [0, 1, 5, 50])
def test_any_warmup_works_with_any_number_of_epochs(tiny: dict[str, Any], warmup: int) -> None:
    for epochs in (1, 2, 5):
        seen = rates(tiny, epochs, lr_scheduler="warmup_cosine", warmup_epochs=warmup)
        assert len(seen) == epochs
        assert all(0 < rate <= 1 for rate in seen)
