"""What only a CUDA device can show: `pytest tests/gpu`. Without one everything here is skipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeq.config import RunConfig
from codeq.quant import attach_weight_quantizers
from codeq.train.checkpoint import load_checkpoint, save_checkpoint
from codeq.train.loop import TrainState, create_train_state, fit, train_steps
from codeq.train.step import GraphedStep, TrainStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def config(model: str = "mlp", **changes: Any) -> RunConfig:
    group = {"lr": 1e-3, "weight_decay": 0.01}
    return RunConfig.model_validate(
        {
            "model": model,
            "dataset": "digits",
            "img_size": 32 if model == "vit" else 8,
            "epochs": 2,
            "batch_size": 64,
            "device": "cuda",
            "precision": "fp32",
            "quantizer": {"name": "deadzone", "kwargs": {"max_bits": 8}, "exclude_layers": ["bn", "norm"]},
            "optimizer": {"type": "adamw", "param_groups": {"base": group, "dz": group, "bit": group}},
            "loss_terms": [{"name": "group_lasso", "lambda": 1e-4}],
            **changes,
        }
    )


def weights(state: TrainState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items() if value.is_floating_point()}


def as_written(state: TrainState) -> TrainState:
    state.step = TrainStep(state.loss, state.optimizer, state.device)
    return state


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("model", ["mlp", "resnet20", "vit"])
def test_replayed_an_epoch_trains_as_it_does_step_by_step(model: str, optimizer: str) -> None:
    group = {"lr": 1e-3, "weight_decay": 0.01} | ({"momentum": 0.9} if optimizer == "sgd" else {})
    settings = {"optimizer": {"type": optimizer, "param_groups": {"base": group, "dz": group, "bit": group}}}
    replayed, written = (create_train_state(config(model, **settings)) for _ in range(2))
    as_written(written)
    found = [train_steps(state) for state in (replayed, written)]
    assert isinstance(replayed.step, GraphedStep) and replayed.step._graph is not None
    assert found[0] == pytest.approx(found[1], rel=0.02)
    if model == "mlp":  # a step of the quantizer turns rounding into a jump elsewhere
        torch.testing.assert_close(weights(replayed), weights(written), rtol=1e-2, atol=1e-3)


def test_the_schedule_reaches_the_recorded_step() -> None:
    state = create_train_state(config(epochs=3))
    list(fit(state))
    assert state.scheduler.get_last_lr()[0] == pytest.approx(0.0, abs=1e-9)
    before = weights(state)
    train_steps(state)  # at a learning rate of 0
    assert all(torch.equal(value, before[name]) for name, value in weights(state).items() if "running" not in name)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_every_precision_learns(precision: str) -> None:
    *_, row = fit(create_train_state(config("resnet20", epochs=6, precision=precision)))
    assert row.val_acc > 80, row


def test_a_checkpoint_of_a_graphed_run_goes_on_without_one(tmp_path: Any) -> None:
    state = create_train_state(config(epochs=4))
    next(fit(state))
    save_checkpoint(tmp_path / "checkpoint.th", state)
    for device in ("cuda", "cpu"):
        resumed = create_train_state(config(epochs=4, device=device))
        load_checkpoint(tmp_path / "checkpoint.th", resumed)
        *_, row = fit(resumed)
        assert row.epoch == 4 and row.val_acc > 60


class ReadsTheDevice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_a_model_that_reads_the_device_trains_without_a_graph(caplog: pytest.LogCaptureFixture) -> None:
    state = create_train_state(config())
    model = nn.Sequential(nn.Flatten(), ReadsTheDevice(), nn.Linear(64, 10)).cuda()
    attach_weight_quantizers(model, [], "deadzone", {})
    state.model, state.loss.model = model, model
    state.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    state.step = GraphedStep(state.loss, state.optimizer, state.device)
    loss, _ = train_steps(state)
    assert loss == loss and "cannot be recorded as a CUDA graph" in caplog.text


def test_compiled_and_recorded_a_step_still_learns() -> None:
    *_, row = fit(create_train_state(config(epochs=6, use_compile=1)))
    assert row.val_acc > 70
