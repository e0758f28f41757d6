"""The sweep section: names that stay in their folder, durations, bounds and metrics."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from codeq.config.metrics import REPORTED
from codeq.config.sweep import SweepConfig, parse_bound, parse_duration


def accepts(**keys: Any) -> bool:
    try:
        SweepConfig.model_validate(keys)
    except ValidationError:
        return False
    return True


def test_a_sweep_may_be_left_to_its_defaults() -> None:
    sweep = SweepConfig.model_validate({})
    assert sweep.objectives == {"val_acc": "max", "sparsity": "max"}
    assert (sweep.search.sampler, sweep.scheduler.name, sweep.resources.gpu) == ("tpe", "asha", "auto")
    assert sweep.confirm is None  # it costs as much as nine trials that nobody stops


@pytest.mark.parametrize("name", ["dz_wd", "a", "0", "A.b-c_d", "x" * 64])
def test_a_name_is_a_plain_file_name(name: str) -> None:
    assert accepts(name=name)


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", ".x", "a/b", "a\\b", "", "-x", "_x", "a b", "a\n", "é", "a\0", "x" * 65, 3, "~"]
)
def test_a_name_that_could_leave_its_folder_is_refused(name: Any) -> None:
    assert not accepts(name=name)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), ("90 s", 90)]
)
def test_durations_are_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert accepts(time_budget=text)


@pytest.mark.parametrize(
    "text", ["90", 90, "0s", "-5m", "2H", "2h30m", "1e3s", "inf", "", None, "٣s", "9" * 400 + "h", [1]]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a number with s, m, h or d, such as 90s or 2h"):
        parse_duration(text)
    assert accepts(time_budget=text) == (text is None)


@pytest.mark.parametrize(
    ("text", "bound"), [(">= 90", (">=", 90.0)), ("<=0.5", ("<=", 0.5)), (" >= -1e-3 ", (">=", -0.001))]
)
def test_constraints_are_a_relation_and_a_number(text: str, bound: tuple[str, float]) -> None:
    assert parse_bound(text) == bound
    assert accepts(constraints={"val_acc": text})


@pytest.mark.parametrize(
    "text", ["> 90", "90", 90, "== 90", ">= nan", ">= inf", ">= 1e999", ">= 1_0", ">=", ">= .", None]
)
def test_what_is_no_constraint_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match='must be ">= NUMBER" or "<= NUMBER", in quotes'):
        parse_bound(text)
    assert not accepts(constraints={"val_acc": text})


@pytest.mark.parametrize("metric", REPORTED)
def test_every_reported_metric_can_be_an_objective_or_a_constraint(metric: str) -> None:
    assert accepts(objectives={metric: "min"}, constraints={metric: ">= 0"})


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("trials", [1, None], [0, 2.0, 2**31]),
        ("objectives", [{"val_acc": "max"}], [{}, {"test_acc": "max"}, {"val_acc": "maximize"}, ["val_acc"], None]),
        ("search", [{}, {"sampler": "grid"}], ["tpe", {"sampler": "TPE"}, {"seed": -1}, {"startup_trials": 0}, None]),
        ("scheduler", [{"name": "none"}], [{"name": None}, {"grace_epochs": 0}, {"reduction_factor": 1}]),
        ("resources", [{"cpu": 0.5, "gpu": 0.25}, {"gpu": "auto", "fuse": 1}, {"fuse": "auto"}],
         [{"cpu": 0}, {"cpu": math.inf}, {"gpu": -1}, {"gpu": math.nan}, {"gpu": "cuda"}, {"gpu": True}, {"fuse": 0},
          {"fuse": "no"}, {"fuse": 8}]),
        ("max_concurrent", [None, 1], [0]),
        ("max_failures", [0], [-1]),
        ("confirm", [None, {}, {"top": 1, "seeds": 5}], [3, True, {"top": 0}, {"seeds": 0}, {"seed": 3}]),
        ("enqueue", [[], [{"epochs": 3}]], [None, {}, [{}], [None], [3]]),
        ("storage", ["results", "s3://bucket/path"], ["", None, "a\n"]),
        ("study", [None, "sqlite:///x.db"], ["", 3]),
    ],
)  # fmt: skip
def test_every_key_takes_its_range_and_nothing_else(key: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(**{key: value})] == []
    assert [value for value in bad if accepts(**{key: value})] == []


@pytest.mark.parametrize(
    ("search", "valid"),
    [
        ({"warm_start": "results/OTHER"}, True),
        ({"warm_start": "results/OTHER", "sampler": "nsga2"}, True),
        ({"warm_start": None, "sampler": "grid"}, True),
        ({"warm_start": "results/OTHER", "sampler": "random"}, False),
        ({"warm_start": "results/OTHER", "sampler": "grid"}, False),
        ({"warm_start": ""}, False),
        ({"warm_start": "s3://key:secret@bucket/OTHER"}, False),
        ({"sampler": "nsga2", "startup_trials": 2}, True),
        ({"sampler": "nsga2", "startup_trials": 1}, False),
        ({"sampler": "tpe", "startup_trials": 1}, True),
    ],
)
def test_a_search_must_be_able_to_do_what_it_is_told(search: dict[str, Any], valid: bool) -> None:
    assert accepts(search=search) == valid
