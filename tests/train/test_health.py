"""When a run counts as diverged or collapsed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from codeq.train.health import diagnose

FINE: dict[str, Any] = {
    "epoch": 5, "loss": 1.0, "val_acc": 50.0, "empty_layers": (), "zero_at_start": (), "majority_class_fraction": 0.1,
    "grace_epochs": 5,
}  # fmt: skip


def test_a_learning_network_is_healthy() -> None:
    assert diagnose(**FINE) == ("healthy", "")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_diverged_at_once(loss: float) -> None:
    assert diagnose(**{**FINE, "epoch": 1, "loss": loss}) == ("diverged", f"loss is {loss}")


def test_an_empty_layer_is_collapsed_at_once_and_is_named() -> None:
    status, reason = diagnose(**{**FINE, "epoch": 1, "empty_layers": ("fc1", "fc2")})
    assert (status, reason) == ("collapsed", "every weight of fc1 and 1 more is zero")


def test_a_layer_that_starts_with_zeros_has_until_the_grace_epoch() -> None:
    started = {**FINE, "epoch": 4, "empty_layers": ("fc1", "fc2"), "zero_at_start": {"fc1", "fc2"}}
    assert diagnose(**started) == ("healthy", "")
    assert diagnose(**{**started, "epoch": 5}) == ("collapsed", "every weight of fc1 and 1 more is zero")
    assert diagnose(**{**started, "zero_at_start": {"fc1"}}) == ("collapsed", "every weight of fc2 is zero")


def test_accuracy_at_chance_is_collapsed_from_the_grace_epoch_on() -> None:
    at_chance = {**FINE, "val_acc": 10.0}
    assert diagnose(**{**at_chance, "epoch": 4})[0] == "healthy"
    assert diagnose(**at_chance) == ("collapsed", "val_acc 10.00 is no better than chance (10.00)")


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    assert diagnose(**{**FINE, "val_acc": 60.0, "majority_class_fraction": 0.7})[0] == "collapsed"


def test_just_above_chance_is_healthy() -> None:
    assert diagnose(**{**FINE, "val_acc": 10.1})[0] == "healthy"
