"""The four distributions: what they refuse, what they hold, and how their choices are called."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codeq.config.distributions import DISTRIBUTIONS, Choice, Int, LogUniform, SameAs, Uniform


def make(name: str, **keys: Any) -> Any:
    return DISTRIBUTIONS[name].model_validate({"distribution": name, **keys})


def choice(*choices: Any) -> Choice:
    return Choice(distribution="choice", choices=list(choices))


def reason(name: str, **keys: Any) -> str:
    """Why the distribution is refused; empty if it is not."""
    try:
        make(name, **keys)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return ""


@pytest.mark.parametrize(
    ("name", "keys", "refused"),
    [
        ("uniform", {"low": 2.0, "high": 1.0}, "low is 2.0, must be below high (1.0)"),
        ("loguniform", {"low": 50.0, "high": 0.1}, "low is 50.0, must be below high (0.1)"),
        ("int", {"low": 3, "high": 3}, "low is 3, must be below high (3)"),
        ("loguniform", {"low": 0.0, "high": 1.0}, "low is 0.0, must be above 0 for a logarithm"),
        ("loguniform", {"low": -1.0, "high": 1.0}, "low is -1.0, must be above 0 for a logarithm"),
        ("int", {"low": 0, "high": 8, "log": True}, "low is 0, must be above 0 for a logarithm"),
        ("int", {"low": 1, "high": 9, "log": True, "step": 2}, "log and step exclude each other; leave one out"),
        ("int", {"low": 0, "high": 10, "step": 3}, "step is 3, must divide high - low (10); high: 9 would do"),
        ("int", {"low": 0, "high": 10**12, "step": 7}, "step is 7, must divide high - low (1e+12); high: "
                                                       "999999999999 would do"),
        ("uniform", {"low": 0.0, "high": 1.0, "step": 0.3}, "step is 0.3, must divide high - low (1); high: 0.9 would "
                                                            "do"),
        ("uniform", {"low": 0.0, "high": 1.0, "step": 2.0}, "step is 2.0, must divide high - low (1)"),
        ("uniform", {"low": 0.0, "high": 1e308, "step": 1e-308}, "step is 1e-308, must divide high - low (1e+308)"),
        ("uniform", {"low": -1e308, "high": 1.7e308}, "high is 1.7e+308, too far above low (-1e+308)"),
        ("uniform", {"low": 0.0, "high": math.inf}, "Input should be a finite number"),
        ("uniform", {"low": math.nan, "high": 1.0}, "Input should be a finite number"),
        ("uniform", {"low": 0.0, "high": 1.0, "step": 0.0}, "Input should be greater than 0"),
        ("int", {"low": 0, "high": 2**53 + 1}, "Input should be less than or equal to 9007199254740992"),
        ("int", {"low": 0.5, "high": 2}, "Input should be a valid integer"),
        ("choice", {"choices": []}, "List should have at least 1 item after validation, not 0"),
        ("choice", {"choices": [1, 2, 1]}, "choices.2 (1) is the same as choices.0; leave one out"),
        ("choice", {"choices": [True, 1]}, "choices.1 (1) is the same as choices.0; leave one out"),
        ("choice", {"choices": [{"a": 1}, {"a": 1}]}, 'choices.1 ({"a": 1}) is the same as choices.0; leave one out'),
    ],
)  # fmt: skip
def test_a_distribution_that_cannot_be_drawn_is_refused(name: str, keys: dict[str, Any], refused: str) -> None:
    assert reason(name, **keys) == refused


@pytest.mark.parametrize(
    ("name", "keys", "inside", "outside"),
    [
        ("uniform", {"low": 0.0, "high": 1.0}, [0.0, 0.5, 1, 1.0], [-0.1, 1.1, "0.5", None, True, math.nan]),
        ("uniform", {"low": 0.1, "high": 0.9, "step": 0.2}, [0.1, 0.3, 0.1 + 0.4, 0.9], [0.2, 1.1]),
        ("loguniform", {"low": 0.1, "high": 50.0}, [0.1, 1, 50.0], [0.0, 51.0, "1", True]),
        ("int", {"low": 2, "high": 8}, [2, 5, 8], [1, 9, 2.0, True, "3"]),
        ("int", {"low": 2, "high": 8, "step": 3}, [2, 5, 8], [3, 4]),
        ("choice", {"choices": [None, "a", 0.5]}, [None, "a", 0.5], ["b", "null", 0.6]),
    ],
)
def test_a_distribution_knows_what_can_be_drawn(
    name: str, keys: dict[str, Any], inside: list[Any], outside: list[Any]
) -> None:
    distribution = make(name, **keys)
    assert [value for value in inside if not distribution.contains(value)] == []
    assert [value for value in outside if distribution.contains(value)] == []
    assert all(distribution.contains(end) for end in distribution.bounds().values())


@pytest.mark.parametrize(
    ("name", "keys", "size", "text"),
    [
        ("uniform", {"low": 0.0, "high": 1.0}, math.inf, "uniform [0, 1]"),
        ("uniform", {"low": 0.0, "high": 1.0, "step": 0.1}, 11, "uniform [0, 1] step 0.1"),
        ("uniform", {"low": 0.1234567, "high": 0.1234568}, math.inf, "uniform [0.1234567, 0.1234568]"),
        ("loguniform", {"low": 1e-5, "high": 0.1}, math.inf, "loguniform [1e-05, 0.1]"),
        ("int", {"low": 2, "high": 8}, 7, "int [2, 8]"),
        ("int", {"low": 2, "high": 8, "step": 3}, 3, "int [2, 8] step 3"),
        ("int", {"low": 2, "high": 8, "log": True}, 7, "int [2, 8] log"),
        ("choice", {"choices": [None, True, "a", 1.5]}, 4, "choice of null | true | a | 1.5"),
    ],
)
def test_a_distribution_knows_its_size_and_its_name(name: str, keys: dict[str, Any], size: float, text: str) -> None:
    distribution = make(name, **keys)
    assert (distribution.size(), str(distribution)) == (size, text)


@given(low=st.integers(-1000, 1000), steps=st.integers(1, 50), step=st.integers(1, 20))
@settings(deadline=None)
def test_an_integer_grid_holds_exactly_its_points(low: int, steps: int, step: int) -> None:
    distribution = Int(distribution="int", low=low, high=low + steps * step, step=step)
    held = [value for value in range(low - step, low + (steps + 1) * step + 1) if distribution.contains(value)]
    assert held == list(range(low, low + steps * step + 1, step))
    assert len(held) == distribution.size()


@given(low=st.floats(-100, 100), steps=st.integers(1, 50), step=st.floats(0.01, 10))
@settings(deadline=None)
def test_a_float_grid_holds_its_points(low: float, steps: int, step: float) -> None:
    distribution = Uniform(distribution="uniform", low=low, high=low + steps * step, step=step)
    assert distribution.size() == steps + 1
    assert all(distribution.contains(min(low + index * step, distribution.high)) for index in range(steps + 1))
    assert not distribution.contains(low + 0.5 * step)


def test_scalars_are_their_own_labels() -> None:
    assert choice(None, False, 8, 0.5, "bn").labels == [None, False, 8, 0.5, "bn"]


def test_mappings_are_called_by_what_tells_them_apart() -> None:
    same = {"learnable_bit": True}
    four_bits = {"name": "deadzone", "kwargs": {"max_bits": 4, **same}}
    assert choice(four_bits, {"name": "deadzone", "kwargs": same}).labels == ["kwargs.max_bits=4", "-"]
    assert choice(None, {"name": "uniform"}, []).labels == ["null", "name=uniform", "[]"]


def test_labels_leave_distributions_out_where_they_can() -> None:
    bits, learn = Int(distribution="int", low=2, high=8), Uniform(distribution="uniform", low=0.0, high=1.0)
    assert choice({"name": "a", "bits": bits}, {"name": "b", "bits": bits}).labels == ["name=a", "name=b"]
    assert choice({"name": "a", "bits": bits}, {"name": "a", "learn": learn}).labels == [
        "bits=int [2, 8]", "learn=uniform [0, 1]",
    ]  # fmt: skip
    labels = choice(choice(1, 2), bits, SameAs(same_as="seed")).labels
    assert labels == ["(choice of 1 | 2)", "int [2, 8]", "same as seed"]


def test_labels_tell_ranges_apart_that_differ_in_the_seventh_digit() -> None:
    ranges = [{"lr": LogUniform(distribution="loguniform", low=low, high=1.0)} for low in (0.1234567, 0.1234568)]
    assert choice(*ranges).labels == ["lr=loguniform [0.1234567, 1]", "lr=loguniform [0.1234568, 1]"]


def test_labels_of_lists_show_no_python() -> None:
    term = {"name": "group_lasso", "lambda": Uniform(distribution="uniform", low=0.0, high=2.0)}
    assert choice([], [term]).labels == ["[]", '[{"name": "group_lasso", "lambda": "uniform [0, 2]"}]']


def test_copies_and_pickles_of_a_choice_are_equal_and_keep_their_labels() -> None:
    original = choice({"name": "a"}, {"name": "b"}, choice(1, 2))
    for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert twin == original
        assert twin.labels == original.labels


def test_comparing_deeply_nested_choices_takes_no_time() -> None:
    def nested(last: int) -> Choice:
        inner: Any = last
        for level in range(30):
            inner = choice(level + 100, inner)
        return choice(0, inner)

    assert nested(1) != nested(2)
    assert nested(1) == nested(1)
