"""Drawing one config: choices first, references last, and every value knowing where it came from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from codeq.config.distributions import Distribution
from codeq.config.document import KeyPath, parse_document
from codeq.config.draw import SampledConfig
from codeq.config.tree import parse_tree


def draw(text: str, suggest: Callable[[KeyPath, Distribution], Any] | None = None) -> SampledConfig:
    """A draw from the tree of `text`; without a callable every distribution gives its last end."""
    document = parse_document(text, "t.yaml")
    last = suggest or (lambda path, distribution: list(distribution.bounds().values())[-1])
    return SampledConfig(parse_tree(document, document.data, (), []), last)


NESTED = """\
a: {distribution: int, low: 1, high: 3}
q:
  distribution: choice
  choices:
  - null
  - n: x
    k: {distribution: choice, choices: [{z: {distribution: uniform, low: 0, high: 2}}, [1, {same_as: a}]]}
"""


def test_a_draw_is_plain_data() -> None:
    assert draw(NESTED).data == {"a": 3, "q": {"n": "x", "k": [1, 3]}}


def test_only_what_is_drawn_is_asked_for() -> None:
    asked: list[str] = []

    def first(path: KeyPath, distribution: Distribution) -> Any:
        asked.append(".".join(map(str, path)))
        return next(iter(distribution.bounds().values()))

    assert draw(NESTED, first).data == {"a": 1, "q": None}
    assert asked == ["a", "q"]


def test_every_value_knows_where_in_the_file_it_was_written() -> None:
    origin = draw(NESTED).origin
    assert origin[("q", "n")] == ("q", "choices", 1, "n")
    assert origin[("q", "k", 0)] == ("q", "choices", 1, "k", "choices", 1, 0)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: {same_as: a}", {"a": 1, "b": 1}),
        ("a: {same_as: b}\nb: {same_as: c}\nc: {same_as: d.0}\nd: [7]", {"a": 7, "b": 7, "c": 7, "d": [7]}),
        ("a: {distribution: int, low: 1, high: 3}\nb: {same_as: a}", {"a": 3, "b": 3}),
        ("a: {x: 1, y: {same_as: c}}\nb: {same_as: a}\nc: 2", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": 2}),
        ("b: {same_as: a.y}\na: {same_as: c}\nc: {y: 5}", {"a": {"y": 5}, "b": 5, "c": {"y": 5}}),
        ("t: [{name: lasso, k: 2}]\nb: {same_as: t.lasso.k}", {"t": [{"name": "lasso", "k": 2}], "b": 2}),
    ],
)
def test_references_take_the_value_they_name(text: str, data: Any) -> None:
    drawn = draw(text)
    assert (drawn.data, drawn.unresolved) == (data, {})


def test_a_copy_of_a_mapping_is_independent() -> None:
    drawn = draw("a: {x: [1]}\nb: {same_as: a}")
    drawn.data["b"]["x"].append(2)
    assert drawn.data["a"] == {"x": [1]}


@pytest.mark.parametrize(
    ("text", "unresolved"),
    [
        ("a: {same_as: a}", ["a"]),
        ("a: {same_as: b}\nb: {same_as: a}\nc: {same_as: a}", ["a", "b", "c"]),
        ("a: {x: {same_as: a}}", ["a.x"]),
        ("a: {same_as: nothing}\nb: 1\nc: {same_as: b}", ["a"]),
        ("a: {same_as: b.x}\nb: {distribution: choice, choices: [{x: 1}, null]}", ["a"]),
    ],
)
def test_circles_and_missing_targets_are_left_unresolved(text: str, unresolved: list[str]) -> None:
    assert [".".join(map(str, path)) for path in draw(text).unresolved] == unresolved


def test_references_to_references_do_not_multiply_for_ever() -> None:
    bomb = "q0: {a: 1, b: 1}\n" + "".join(
        f"q{i}: {{a: {{same_as: q{i - 1}}}, b: {{same_as: q{i - 1}}}}}\n" for i in range(1, 60)
    )
    deep = "z0: 1\n" + "".join(f"z{i}: {{x: {{same_as: z{i - 1}}}}}\n" for i in range(1, 1600))
    for text in (bomb, deep):
        started = time.perf_counter()
        assert draw(text).unresolved
        assert time.perf_counter() - started < 5
