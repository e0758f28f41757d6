"""Which metric decides the winner, from the objectives, the constraints and --pick."""

from __future__ import annotations

from typing import Any

import pytest

from codeq.config import ConfigError, SweepConfig
from codeq.config.selection import describe, selection_objectives

BOTH = {"val_acc": "max", "sparsity": "max"}


def sweep(objectives: dict[str, str] = BOTH, **constraints: str) -> SweepConfig:
    return SweepConfig.model_validate({"objectives": objectives, "constraints": constraints})


def test_without_constraints_all_objectives_decide() -> None:
    assert selection_objectives(sweep()) == BOTH


def test_of_an_objective_that_a_constraint_secures_there_is_enough() -> None:
    assert selection_objectives(sweep(val_acc=">= 90")) == {"sparsity": "max"}
    assert selection_objectives(sweep({"val_acc": "max", "rel_bops": "min"}, rel_bops="<= 0.02")) == {"val_acc": "max"}


def test_several_that_no_constraint_secures_decide_together() -> None:
    three = {**BOTH, "rel_bops": "min"}
    assert selection_objectives(sweep(three, val_acc=">= 90")) == {"sparsity": "max", "rel_bops": "min"}


def test_where_the_constraints_secure_every_objective_all_decide() -> None:
    assert selection_objectives(sweep(val_acc=">= 90", sparsity=">= 0.9")) == BOTH


@pytest.mark.parametrize("constraint", [{"mean_bits": "<= 4"}, {"sparsity": "<= 0.99"}])
def test_a_constraint_on_something_else_or_from_the_good_side_secures_no_objective(constraint: dict[str, str]) -> None:
    assert selection_objectives(sweep(**constraint)) == BOTH


def test_a_pick_goes_before_the_constraints() -> None:
    constrained = sweep(val_acc=">= 90")
    assert selection_objectives(constrained, "val_acc") == {"val_acc": "max"}
    assert selection_objectives(constrained, "knee") == BOTH


def test_a_pick_may_be_any_metric_with_a_better_and_a_worse() -> None:
    assert selection_objectives(sweep(), "rel_bops") == {"rel_bops": "min"}


def test_an_objectives_own_direction_is_the_picks() -> None:
    assert selection_objectives(sweep({"mean_bits": "max"}), "mean_bits") == {"mean_bits": "max"}
    assert selection_objectives(sweep({"lr": "min"}), "lr") == {"lr": "min"}


@pytest.mark.parametrize(
    ("pick", "said"),
    [
        ("val_ac", "--pick: is 'val_ac', must be one of knee, "),
        ("val_ac", "; did you mean val_acc?"),
        ("Knee", "; did you mean knee?"),
        ("accuracy", "; did you mean val_acc?"),
        ("lr", "must be one of"),
        ("", "is ''"),
        ("test_acc", "--pick: test_acc cannot be picked by"),
    ],
)
def test_any_other_pick_is_refused_with_the_nearest_name(pick: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        selection_objectives(sweep(), pick)
    (line,) = str(raised.value).splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        ({"sparsity": "max"}, "highest sparsity"),
        ({"rel_bops": "min"}, "lowest rel_bops"),
        ({"val_acc": "max", "rel_bops": "min"}, "knee in val_acc and rel_bops"),
        ({"val_acc": "max", "sparsity": "max", "rel_bops": "min"}, "knee in val_acc, sparsity and rel_bops"),
    ],
)
def test_a_choice_can_be_said_in_words(objectives: Any, words: str) -> None:
    assert describe(objectives) == words
