"""The literature's side is what it says: the same networks, the same quantizer, and it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import plain_tune
from benchmarks.reference.dead_zone import kthvalue_quantile
from benchmarks.reference.networks import Mlp, ResNet20
from benchmarks.reference.quantizer import LiteralDeadZone, attach
from benchmarks.reference.training import adamw, group_lasso, sparsity
from codeq.config import Template
from codeq.config.distributions import LogUniform
from codeq.models import build_model
from codeq.quant.dead_zone import DeadZoneLDZCompander
from codeq.train.loss_terms import group_lasso as our_group_lasso
from tests.conftest import ROOT

TEMPLATE = Template.load(ROOT / "sweeps" / "dz_wd.yaml")


@pytest.mark.parametrize(("name", "network"), [("mlp", Mlp), ("resnet20", ResNet20)])
def test_the_networks_are_ours(name: str, network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    ours = build_model(name, in_channels=3, img_size=32, num_classes=10, pretrained=False)
    theirs = network()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(theirs(images), ours(images))
    torch.testing.assert_close(group_lasso(theirs, 0.1, 0.2), our_group_lasso(ours, 0.1, 0.2))


@pytest.mark.parametrize("count", [1, 2, 101, 12_345])
def test_the_kthvalue_quantile_is_the_quantile(count: int) -> None:
    magnitude = torch.randn(count).abs()
    torch.testing.assert_close(kthvalue_quantile(magnitude), torch.quantile(magnitude, 0.99))


@pytest.mark.parametrize("learnable_bit", [True, False])
def test_the_literal_quantizer_gives_what_ours_gives(learnable_bit: bool) -> None:
    w = torch.randn(30, 40, dtype=torch.float64)
    ours = DeadZoneLDZCompander(learnable_bit=learnable_bit).double()
    theirs = LiteralDeadZone(learnable_bit=learnable_bit).double()
    torch.testing.assert_close(theirs(w), ours(w))


def test_each_parameter_is_in_one_group() -> None:
    model = Mlp(in_features=4)
    attach(model, exclude_layers=["fc3"])
    optimizer = adamw(model, base={"lr": 0.1}, dz={"lr": 0.2}, bit={"lr": 0.3})
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [(6, 0.1), (2, 0.2), (2, 0.3)]


def test_plain_tune_searches_the_space_of_the_shipped_sweep() -> None:
    bounds = {(d.low, d.high) for d in (p.distribution for p in TEMPLATE.parameters) if isinstance(d, LogUniform)}
    assert {(domain.lower, domain.upper) for domain in plain_tune.SPACE.values()} == bounds
    assert len(bounds) == len(plain_tune.SPACE) == len(TEMPLATE.parameters)
    assert not TEMPLATE.sweep.enqueue  # neither begins with configs of somebody's choice


def test_plain_tunes_trial_learns_digits_and_prunes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(plain_tune.tune, "report", rows.append)
    torch.manual_seed(0)
    data = plain_tune.load_splits()
    assert [len(labels) for _, labels in data] == [1005, 432]
    config = {"base_lr": 0.01, "dz_lr": 0.01, "dz_weight_decay": 5.0, "group_lasso": 1e-5}
    plain_tune.train_digits(config, data, epochs=6)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["val_acc"] > 85
    assert rows[-1]["sparsity"] > rows[0]["sparsity"]


def test_sparsity_counts_quantized_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    attach(model, exclude_layers=["1"])
    with torch.no_grad():
        model[0].parametrizations.weight.original.fill_(1.0)[0] = 0.0
    assert sparsity(model) == pytest.approx(1 / 3)
