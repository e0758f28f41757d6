"""The loop: its rows, its endings, its reproducibility."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from codeq.config import RunConfig
from codeq.config.metrics import REPORTED
from codeq.train.loop import EpochMetrics, create_train_state, evaluate, fit

TIMES = {"epoch_s", "images_per_s"}


def rows(config: dict[str, Any], **options: Any) -> list[EpochMetrics]:
    return list(fit(create_train_state(RunConfig.model_validate(config)), **options))


def without_times(found: list[EpochMetrics]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.as_dict().items() if key not in TIMES} for row in found]


def test_each_epoch_gives_a_row_with_every_metric_and_the_last_one_is_finished(tiny: dict[str, Any]) -> None:
    found = rows(tiny)
    assert [row.epoch for row in found] == [1, 2, 3, 4]
    assert [row.status for row in found] == ["running"] * 3 + ["finished"]
    assert set(found[0].as_dict()) == {"epoch", *REPORTED, "val_images", "status", "reason"}
    assert {row.val_images for row in found} == {287}  # a fifth of 1,437, class by class


def test_a_tiny_network_learns_and_gets_sparser(tiny: dict[str, Any]) -> None:
    found = rows({**tiny, "epochs": 8})
    assert found[-1].val_acc > 80
    assert found[-1].sparsity > found[0].sparsity
    assert found[-1].mean_bits == 4
    assert found[-1].rel_bops < 4 / 32
    assert 0 < found[-1].images_per_s


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_network_at_chance_after_its_last_epoch_is_collapsed_whatever_the_grace_period(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    monkeypatch.setattr("codeq.train.loop.evaluate", lambda state, batches: 10.0)
    found = rows({**tiny, "epochs": epochs}, grace_epochs=5)
    assert [row.status for row in found] == ["running"] * (epochs - 1) + ["collapsed"]
    assert found[-1].reason == "val_acc 10.00 is no better than chance (10.10)"


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(tiny: dict[str, Any]) -> None:
    first = without_times(rows(tiny))
    assert without_times(rows(tiny)) == first
    assert without_times(rows({**tiny, "seed": 1})) != first


def test_rows_follow_the_schedule(tiny: dict[str, Any]) -> None:
    assert [row.lr for row in rows(tiny)] == pytest.approx(
        [0.005 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    )


def test_nan_loss_ends_the_run_as_diverged(tiny: dict[str, Any]) -> None:
    tiny["optimizer"]["param_groups"]["base"]["lr"] = 1e30
    found = rows(tiny)
    assert found[-1].status == "diverged"
    assert "loss is" in found[-1].reason
    assert len(found) < 4


def test_a_network_that_does_not_learn_ends_as_collapsed_after_the_grace_period(tiny: dict[str, Any]) -> None:
    tiny["loss_terms"][0]["lambda"] = 1e4
    tiny["optimizer"]["param_groups"]["base"]["lr"] = 0.05
    found = rows({**tiny, "epochs": 12}, grace_epochs=3)
    assert found[-1].status == "collapsed"
    assert 3 <= found[-1].epoch < 12


def test_a_baseline_has_no_compression(tiny: dict[str, Any]) -> None:
    (row,) = rows({**tiny, "quantizer": None, "loss_terms": [], "epochs": 1})
    assert (row.sparsity, row.rel_bops, row.mean_bits) == (0.0, 1.0, 32.0)


def test_a_learnable_bit_width_moves_with_its_weight_decay(tiny: dict[str, Any]) -> None:
    tiny["quantizer"]["kwargs"] = {"learnable_bit": True, "max_bits": 8}
    tiny["optimizer"]["param_groups"]["bit"] = {"lr": 0.02, "weight_decay": 5.0}
    assert rows({**tiny, "epochs": 5})[-1].mean_bits < 7


def test_convolutions_train_in_channels_last(tiny: dict[str, Any]) -> None:
    state = create_train_state(RunConfig.model_validate({**tiny, "model": "resnet20", "epochs": 1}))
    weight = next(p for p in state.model.parameters() if p.dim() == 4 and p.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_training_never_reads_the_test_split(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    state = create_train_state(RunConfig.model_validate({**tiny, "epochs": 8}))
    test = state.data.test
    read: list[int] = []
    epoch = test.epoch
    monkeypatch.setattr(test, "epoch", lambda number: read.append(number) or epoch(number))
    list(fit(state))
    assert read == []
    assert 75 < evaluate(state, test) <= 100
    assert read == [0]


def test_val_fraction_zero_decides_on_the_test_split(tiny: dict[str, Any]) -> None:
    state = create_train_state(RunConfig.model_validate({**tiny, "val_fraction": 0.0, "epochs": 1}))
    assert [row.val_acc for row in fit(state)] == [evaluate(state, state.data.test)]


def test_a_compiled_step_gives_the_same_training_within_rounding(tiny: dict[str, Any]) -> None:
    eager = rows({**tiny, "epochs": 2})
    compiled = rows({**tiny, "epochs": 2, "use_compile": 1})
    assert compiled[-1].loss == pytest.approx(eager[-1].loss, rel=0.02)
    assert compiled[-1].val_acc == pytest.approx(eager[-1].val_acc, abs=3)


def test_a_device_that_is_not_there_is_said_in_one_line(tiny: dict[str, Any]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="device: cuda was asked for, but PyTorch sees no CUDA device"):
        create_train_state(RunConfig.model_validate({**tiny, "device": "cuda"}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", ["mlp", "resnet20"])
def test_training_on_cuda_learns_as_on_the_cpu(tiny: dict[str, Any], model: str) -> None:
    config = {**tiny, "model": model, "epochs": 6}
    assert rows({**config, "device": "cuda"})[-1].val_acc == pytest.approx(rows(config)[-1].val_acc, abs=6)
