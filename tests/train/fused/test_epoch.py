"""Runs that train together end up where they would have alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from codeq.models.mlp import MLP
from codeq.train.checkpoint import load_checkpoint, save_checkpoint
from codeq.train.fused import train_together
from codeq.train.loop import EpochMetrics, TrainState, create_train_state, fit
from tests.train.fused.conftest import Changes

Runs = Callable[..., list[TrainState]]

BASE, DZ = "optimizer.param_groups.base", "optimizer.param_groups.dz"
EACH: list[Changes] = [
    {"seed": 3, f"{BASE}.lr": 0.01, f"{DZ}.weight_decay": 20.0, "loss_terms.0.lambda": 1e-4},
    {"seed": 4, f"{BASE}.lr": 0.002, f"{BASE}.weight_decay": 0.1, f"{BASE}.betas": [0.8, 0.99]},
    {"seed": 5, "quantizer.kwargs.fixed_bit_val": 2, "quantizer.kwargs.init_deadzone_logit": 1.0, "epochs": 7},
    {"seed": 5, "lr_scheduler": "constant", "loss_terms.0.lambda": 0.0, f"{BASE}.eps": 1e-6},
]
SGD = {"lr": 0.05, "momentum": 0.9}
KINDS: dict[str, tuple[list[Changes], Changes]] = {
    "adamw": (EACH, {"batch_size": 32}),
    "learned bits": (
        [{"seed": 1}, {"seed": 2, "quantizer.kwargs.max_bits": 5}],
        {"batch_size": 32, "quantizer.kwargs.learnable_bit": True, "optimizer.param_groups.bit": {"lr": 0.01}},
    ),
    "adam": ([{"seed": 1}, {"seed": 2, f"{BASE}.weight_decay": 0.01}], {"batch_size": 32, "optimizer.type": "adam"}),
    "amsgrad": ([{"seed": 1}, {"seed": 2, f"{BASE}.lr": 0.01}], {"batch_size": 32, f"{BASE}.amsgrad": True}),
    "sgd": (
        [{"seed": 1}, {"seed": 2, f"{BASE}.momentum": 0.0}, {"seed": 3, f"{BASE}.dampening": 0.1}],
        {"batch_size": 32, "optimizer": {"type": "sgd", "param_groups": {"base": SGD, "dz": SGD}}},
    ),
    "uniform": ([{"seed": 1}, {"seed": 2}], {"batch_size": 32, "quantizer": {"name": "uniform", "kwargs": {}}}),
    "no quantizer": ([{"seed": 1}, {"seed": 2}], {"batch_size": 32, "quantizer": None, "loss_terms": []}),
    "frozen dead zone": ([{"seed": 1}, {"seed": 2}], {"batch_size": 32, DZ: None}),
    "vit": (
        [{"seed": 1}, {"seed": 2, f"{BASE}.lr": 0.02}],
        {"model": "timm/test_vit", "dataset": "synthetic", "img_size": 32, "batch_size": 16},
    ),
    "resnet20": ([{"seed": 1}, {"seed": 2, f"{BASE}.lr": 0.02}], {"model": "resnet20", "batch_size": 16}),
    "augmented": (
        [{"seed": 1}, {"seed": 2}],
        {"dataset": "synthetic", "batch_size": 16, "augment": "standard", "img_size": 8},
    ),
    "randaugmented": (
        [{"seed": 1}, {"seed": 2}],
        {"dataset": "synthetic", "batch_size": 16, "augment": "randaugment", "img_size": 16},
    ),
}


def largest_difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max((x.float() - y.float()).abs().max().item() for x, y in pairs)


def train_alone(states: list[TrainState], grace_epochs: int = 5) -> list[EpochMetrics]:
    return [next(fit(state, grace_epochs)) for state in states]


def scores(rows: list[EpochMetrics]) -> list[dict[str, Any]]:
    """What a row says, but the times."""
    return [{k: v for k, v in row.as_dict().items() if k not in ("epoch_s", "images_per_s")} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_steps_together_give_every_parameter_that_they_give_alone(runs: Runs, kind: str) -> None:
    each, common = KINDS[kind]
    steps = 5 if kind in ("resnet20", "vit") else 20
    alone, together = runs(each, common, steps), runs(each, common, steps)
    expected, found = train_alone(alone), train_together(together, 5)
    for a, b in zip(alone, together, strict=True):
        assert largest_difference(a.model, b.model) < 1e-6
    assert scores(found) == scores(expected)


def test_on_a_cpu_they_agree_to_the_last_bit(runs: Runs) -> None:
    alone, together = runs(EACH, {"batch_size": 32}), runs(EACH, {"batch_size": 32})
    for _ in range(3):
        assert scores(train_together(together, 5)) == scores(train_alone(alone))
    for a, b in zip(alone, together, strict=True):
        assert largest_difference(a.model, b.model) == 0.0


def test_epochs_together_and_epochs_alone_can_be_mixed(runs: Runs) -> None:
    """Runs come and go: the first trains alone, with one, with both others, and alone again."""
    alone, mixed = runs(EACH[:3]), runs(EACH[:3])
    for _ in range(4):
        train_alone(alone[:1])
    train_alone(alone[1:2] * 2)
    train_alone(alone[2:])
    train_alone(mixed[:1])
    train_together(mixed[:2], 5)
    train_together(mixed, 5)
    train_alone(mixed[:1])
    assert [state.epoch for state in mixed] == [4, 2, 1]
    for a, b in zip(alone, mixed, strict=True):
        assert largest_difference(a.model, b.model) == 0.0
        assert a.scheduler.state_dict() == b.scheduler.state_dict()


def test_the_checkpoint_of_a_run_that_trained_together_continues_alone(runs: Runs, tmp_path: Path) -> None:
    alone, together = runs(EACH[:2]), runs(EACH[:2])
    train_alone(alone)
    train_together(together, 5)
    save_checkpoint(tmp_path / "checkpoint.th", together[0])
    continued = create_train_state(together[0].config, together[0].data)
    load_checkpoint(tmp_path / "checkpoint.th", continued)
    train_alone([alone[0]])
    train_alone([continued])
    assert largest_difference(alone[0].model, continued.model) == 0.0


def test_a_diverged_run_does_not_disturb_the_others(runs: Runs) -> None:
    each: list[Changes] = [{"seed": 1, f"{BASE}.lr": 1e30}, {"seed": 2}]
    together, alone = runs(each), runs(each)
    found, expected = train_together(together, 5), train_alone(alone)
    assert [row.status for row in found] == ["diverged", "running"]
    assert scores(found[1:]) == scores(expected[1:])


def test_times_are_the_runs_share(runs: Runs) -> None:
    rows = train_together(runs([{"seed": seed} for seed in range(4)]), 5)
    assert len({row.epoch_s for row in rows}) == 1
    assert rows[0].images_per_s == pytest.approx(rows[3].images_per_s)


class WithDropout(MLP):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


def test_a_model_that_draws_random_numbers_is_refused_and_no_run_changes(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, untouched = runs(EACH[:2]), runs(EACH[:2])
    together[0].model.__class__ = WithDropout
    with pytest.raises(RuntimeError, match="random"):
        train_together(together, 5)
    assert largest_difference(together[1].model, untouched[1].model) == 0.0
    assert together[1].epoch == 0
