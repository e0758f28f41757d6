"""The three parameter groups and their options."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from codeq.config.run import OptimizerConfig
from codeq.quant import attach_weight_quantizers
from codeq.train.optimizer import build_optimizer, split_parameters
from tests.conftest import ROOT

TRAIN_AND_RESUME = """
import sys
import torch
from pydantic import TypeAdapter
from codeq.config.run import OptimizerConfig
from codeq.train.macs import dense_macs
from codeq.train.optimizer import build_optimizer

net = torch.nn.Linear(4, 3)
dense_macs(net, (1, 1, 4))
config = TypeAdapter(OptimizerConfig).validate_python({"type": sys.argv[1], "param_groups": {"base": {"lr": 0.1}}})
optimizer = build_optimizer(config, net)
net(torch.ones(2, 4)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def quantized(**kwargs: Any) -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    attach_weight_quantizers(net, [], "deadzone", kwargs)
    return net


def config(kind: str = "adamw", **groups: Any) -> Any:
    return TypeAdapter(OptimizerConfig).validate_python({"type": kind, "param_groups": groups})


def test_every_parameter_is_in_exactly_one_group() -> None:
    net = quantized()
    groups = split_parameters(net)
    assert {name: len(parameters) for name, parameters in groups.items()} == {"base": 4, "dz": 2, "bit": 2}
    assert sum(map(len, groups.values())) == len(list(net.parameters()))


def test_each_group_gets_its_own_options() -> None:
    optimizer = build_optimizer(
        config(base={"lr": 0.1}, dz={"lr": 0.2, "weight_decay": 2.5, "betas": [0.5, 0.6]}, bit={"lr": 0.3}), quantized()
    )
    by_name = {group["name"]: group for group in optimizer.param_groups}
    assert [by_name[name]["lr"] for name in ("base", "dz", "bit")] == [0.1, 0.2, 0.3]
    assert [by_name[name]["weight_decay"] for name in ("base", "dz", "bit")] == [0.0, 2.5, 0.0]
    assert by_name["dz"]["betas"] == (0.5, 0.6)
    assert by_name["base"]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("kind", "expected"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_the_one_named(kind: str, expected: type) -> None:
    optimizer = build_optimizer(config(kind, base={"lr": 0.1}), nn.Linear(2, 2))
    assert isinstance(optimizer, expected)
    assert type(optimizer).__name__ == expected.__name__  # AdamW is an Adam
    assert type(pickle.loads(pickle.dumps(optimizer))) is type(optimizer)


def test_sgd_takes_its_own_keys() -> None:
    groups = {"base": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}}
    (group,) = build_optimizer(config("sgd", **groups), nn.Linear(2, 2)).param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)


def test_a_group_left_out_freezes_its_logits_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    net = quantized(init_deadzone_logit=1.5)
    with caplog.at_level(logging.INFO):
        optimizer = build_optimizer(config(base={"lr": 0.1}, bit={"lr": 0.1}), net)
    assert "optimizer.param_groups has no dz: its 2 logits stay at their initial value 1.5" in caplog.text
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    logits = [p for name, p in net.named_parameters() if name.endswith("logit_dz")]
    assert len(logits) == 2
    assert all(logit.item() == 1.5 for logit in logits)


def test_logits_that_the_quantizer_froze_need_no_group(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        build_optimizer(config(base={"lr": 0.1}, dz={"lr": 0.1}), quantized(learnable_bit=False))
    assert "optimizer.param_groups" not in caplog.text


def test_groups_of_a_baseline_that_has_no_logits_are_ignored() -> None:
    optimizer = build_optimizer(config(base={"lr": 0.1}, dz={"lr": 0.1}, bit={"lr": 0.1}), nn.Linear(2, 2))
    assert [group["name"] for group in optimizer.param_groups] == ["base"]


def test_weight_decay_of_the_dead_zone_logit_pulls_it_towards_zero() -> None:
    net = quantized()
    optimizer = build_optimizer(config(base={"lr": 0.0}, dz={"lr": 0.1, "weight_decay": 2.0}), net)
    before = [p.item() for n, p in net.named_parameters() if n.endswith("logit_dz")]
    (0.0 * net(torch.randn(5, 4)).sum()).backward()
    optimizer.step()
    after = [p.item() for n, p in net.named_parameters() if n.endswith("logit_dz")]
    assert after == pytest.approx([0.8 * value for value in before], rel=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_counting_macs_and_training_do_not_import_the_compiler(kind: str) -> None:
    command = [sys.executable, "-c", TRAIN_AND_RESUME, kind]
    assert subprocess.check_output(command, cwd=ROOT, text=True).strip() == "False"


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_an_optimizer_steps_as_pytorchs_own(kind: str) -> None:
    torch.manual_seed(0)
    ours = nn.Linear(4, 3)
    theirs = nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    stock = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind]
    pairs = [
        (ours, build_optimizer(config(kind, base={"lr": 0.1, "weight_decay": 0.1}), ours)),
        (theirs, stock(theirs.parameters(), lr=0.1, weight_decay=0.1, fused=True)),
    ]
    for net, optimizer in pairs:
        for images in torch.eye(4):
            optimizer.zero_grad()
            net(images).square().sum().backward()
            optimizer.step()
    for own, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, reference)
