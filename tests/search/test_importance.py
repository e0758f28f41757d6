"""Importances: what matters is found, what does not is not, and too little is not enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq.config import Template
from codeq.search import importance
from codeq.search.importance import importances

LR = "optimizer.param_groups.base.lr"
DECAY = "optimizer.param_groups.dz.weight_decay"
SIZE = "batch_size"
BITS = "quantizer.kwargs.bitwidth"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Template:
    """Four parameters of four kinds, one of them conditional."""
    tiny["batch_size"] = {"distribution": "choice", "choices": [64, 128]}
    groups = tiny["optimizer"]["param_groups"]
    groups["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}
    groups["dz"]["weight_decay"] = {"distribution": "uniform", "low": 0.0, "high": 10.0}
    tiny["quantizer"] = {"distribution": "choice", "choices": [
        tiny["quantizer"], {"name": "uniform", "kwargs": {"bitwidth": {"distribution": "int", "low": 2, "high": 8}}},
    ]}  # fmt: skip
    objectives = {"val_acc": "max", "rel_bops": "min"}
    return Template.load(write_yaml({**tiny, "sweep": {"name": "s", "objectives": objectives}}))


def drawn(template: Template, count: int, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    labels = template.parameters[1].distribution.labels  # type: ignore[union-attr]
    found = []
    for _ in range(count):
        one: dict[str, Any] = {
            LR: float(10 ** random.uniform(-4, -1)), DECAY: float(random.uniform(0, 10)),
            SIZE: [64, 128][random.integers(2)], "quantizer": labels[random.integers(2)],
        }  # fmt: skip
        found.append({**one, BITS: int(random.integers(2, 9))} if one["quantizer"] == labels[1] else one)
    return found


def test_what_decides_an_objective_is_found_for_it_alone(template: Template) -> None:
    parameters = drawn(template, 40, seed=0)
    noise = np.random.default_rng(1).normal(size=40)
    rows = [
        {"val_acc": 5 * np.log10(one[LR]) + 0.5 * e, "rel_bops": one[DECAY] - 0.5 * e}
        for one, e in zip(parameters, noise, strict=True)
    ]
    found = importances(template, parameters, rows)
    assert list(found) == ["val_acc", "rel_bops"]
    assert list(found["val_acc"]) == [LR] and list(found["rel_bops"]) == [DECAY]
    assert 0.5 < found["val_acc"][LR] <= 1
    assert importances(template, parameters, rows) == found


def test_what_is_to_be_large_is_a_loss_with_the_sign_turned(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []
    monkeypatch.setattr(importance, "_importances", lambda study, losses: seen.append(sorted(losses)) or {})
    rows = [{"val_acc": 90.0, "rel_bops": 0.1}, {"val_acc": 80.0, "rel_bops": 0.3}]
    importances(template, drawn(template, 2, seed=0), rows)
    assert seen[0] == [-90.0, -80.0] and seen[-1] == [0.1, 0.3]


def test_a_conditional_parameter_is_judged_by_the_trials_that_have_it(template: Template) -> None:
    parameters = drawn(template, 60, seed=2)
    rows = [{"val_acc": float(one.get(BITS, 0)), "rel_bops": 0.0} for one in parameters]
    found = importances(template, parameters, rows)["val_acc"]
    assert {"quantizer", BITS} & set(found) and not {LR, DECAY, SIZE} & set(found)


def test_scores_that_are_chance_alone_make_nothing_important_nineteen_times_in_twenty(template: Template) -> None:
    false_alarms = 0
    for seed in range(10):
        parameters = drawn(template, 24, seed)
        scores = np.random.default_rng(100 + seed).normal(size=(24, 2))
        found = importances(template, parameters, [{"val_acc": a, "rel_bops": b} for a, b in scores])
        false_alarms += sum(map(bool, found.values()))
    assert false_alarms <= 4  # of 20; more have a probability of 0.3 % at 1 in 20


def test_equal_scores_make_nothing_important(template: Template) -> None:
    parameters = drawn(template, 24, seed=0)
    rows = [{"val_acc": 90.0, "rel_bops": 0.1}] * 24
    assert importances(template, parameters, rows) == {"val_acc": {}, "rel_bops": {}}
