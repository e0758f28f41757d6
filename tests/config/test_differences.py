"""What is said to differ between two configs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codeq.config.differences import differences

X1, X2 = {"name": "x", "k": 1}, {"name": "x", "k": 2}
UNIFORM = {"distribution": "uniform", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, ["a.b is 3, was 1"]),
        ({"a": 1, "b": None}, {"c": True}, ["c is true, was not set", "a is not set, was 1", "b is not set, was null"]),
        ({"a": UNIFORM}, {"a": {**UNIFORM, "high": 2.0}}, ["a.high is 2.0, was 1.0"]),
        ({"a": {"low": 0}}, {"a": UNIFORM}, [f"a is {json.dumps(UNIFORM)}, was {{\"low\": 0}}"]),
        ([X1, {"name": "y"}], [X2, {"name": "y"}], ["x.k is 2, was 1"]),
        ([X1, {"name": "x"}], [X2, {"name": "x"}], ["x.k is 2, was 1"]),
        ({"t": [{"name": "x"}]}, {"t": [{"name": "y"}]}, ['t is [{"name": "y"}], was [{"name": "x"}]']),
        ({"t": [1, 2]}, {"t": [1, 3]}, ["t.1 is 3, was 2"]),
        ({"t": [1, 2]}, {"t": [1]}, ["t is [1], was [1, 2]"]),
    ],
)
def test_the_innermost_keys_that_differ_are_named_with_both_values(before: Any, after: Any, said: list[str]) -> None:
    assert [f"{found.key} {found}" for found in differences(before, after)] == said
