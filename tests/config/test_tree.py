"""The tree: distributions found anywhere, named by where their value lands, and plain data again."""

from __future__ import annotations

from typing import Any

import pytest

from codeq.config.document import parse_document
from codeq.config.errors import Problem
from codeq.config.tree import distributions, dotted, get_dotted, get_path, parameter_names, parse_tree, to_plain, walk


def tree_of(text: str) -> Any:
    document, problems = parse_document(text, "t.yaml"), list[Problem]()
    tree = parse_tree(document, document.data, (), problems)
    assert problems == []
    return tree


def names(text: str) -> list[str]:
    return list(parameter_names(tree_of(text)).values())


EVERYWHERE = """\
a: {distribution: int, low: 1, high: 3}
b:
  c: [1, {distribution: uniform, low: 0, high: 1}]
  d:
    distribution: choice
    choices:
    - null
    - {e: {distribution: loguniform, low: 1, high: 2}, f: [{distribution: choice, choices: [x, y]}]}
g: {same_as: a}
"""


def test_distributions_are_found_anywhere_in_the_order_of_the_file() -> None:
    found = {".".join(map(str, path)): str(d) for path, d in distributions(tree_of(EVERYWHERE)).items()}
    assert found == {
        "a": "int [1, 3]",
        "b.c.1": "uniform [0, 1]",
        "b.d": "choice of null | f=[\"choice of x | y\"]",
        "b.d.choices.1.e": "loguniform [1, 2]",
        "b.d.choices.1.f.0": "choice of x | y",
    }  # fmt: skip
    assert list(found) == ["a", "b.c.1", "b.d", "b.d.choices.1.e", "b.d.choices.1.f.0"]


def test_a_parameter_is_named_by_where_its_value_lands() -> None:
    assert names(EVERYWHERE) == ["a", "b.c.1", "b.d", "b.d.e", "b.d.f.0"]


def test_an_item_of_a_list_is_called_by_its_name() -> None:
    assert names("terms: [{name: lasso, lambda: {distribution: uniform, low: 0, high: 1}}]") == ["terms.lasso.lambda"]


CHOICE = "q: {{distribution: choice, choices: [{{n: a, k: {0}}}, {{n: b, k: {1}}}, {{n: c, k: 3}}]}}"
NARROW, WIDE = "{distribution: int, low: 1, high: 4}", "{distribution: int, low: 1, high: 8}"


def test_equal_distributions_for_one_key_share_one_name() -> None:
    assert names(CHOICE.format(WIDE, WIDE)) == ["q", "q.k", "q.k"]


def test_different_distributions_for_one_key_have_names_of_their_own() -> None:
    assert names(CHOICE.format(NARROW, WIDE)) == ["q", "q.choices.0.k", "q.choices.1.k"]


def test_an_item_keeps_its_name_where_choices_must_be_told_apart() -> None:
    inner = "{distribution: choice, choices: [0, {distribution: uniform, low: 0, high: 1}]}"
    assert names(f"terms: [{{name: lasso, k: {inner}}}]") == ["terms.lasso.k", "terms.lasso.k.choices.1"]
    entries = [f"[{{name: lasso, k: {distribution}}}]" for distribution in (NARROW, WIDE)]
    assert names(f"terms: {{distribution: choice, choices: [{', '.join(entries)}]}}") == [
        "terms", "terms.choices.0.lasso.k", "terms.choices.1.lasso.k",
    ]  # fmt: skip


def test_a_choice_in_a_choice_has_a_name_of_its_own() -> None:
    inner = "{distribution: choice, choices: [1, 2]}"
    assert names(f"q: {{distribution: choice, choices: [{inner}, 3]}}") == ["q", "q.choices.0"]


def test_a_tree_lowers_to_the_data_it_was_lifted_from() -> None:
    data = parse_document(EVERYWHERE, "t.yaml").data
    assert to_plain(tree_of(EVERYWHERE)) == data


def test_every_path_of_a_walk_leads_to_its_value() -> None:
    tree = tree_of(EVERYWHERE)
    for path, _, value in walk(tree):
        assert get_path(tree, path) is value
    assert get_path(tree, ("b", "nothing", 3)) is None
    assert get_path(tree, ("a", "choices", 0)) is None


def test_a_dotted_key_leads_through_names_and_numbers() -> None:
    data = {"terms": [{"name": "lasso", "k": 1}, {"k": 2}], "x": None}
    assert [get_dotted(data, key) for key in ("terms.lasso.k", "terms.0.k", "terms.1.k")] == [1, 1, 2]
    assert get_dotted(data, "x") is None
    for key in ("terms.2", "terms.lass", "terms.-1", "terms.²", "x.y", "", "."):
        with pytest.raises(KeyError):
            get_dotted(data, key)


def test_a_path_is_written_with_names_where_items_have_them() -> None:
    data = {"terms": [{"name": "lasso", "k": 1}, {"name": 3}]}
    assert dotted(data, ("terms", 0, "k")) == "terms.lasso.k"
    assert dotted(data, ("terms", 1, "name")) == "terms.1.name"
    assert dotted(data, ("terms", 7, "gone")) == "terms.7.gone"
    assert dotted(data, ("",)) == '""'


def problems_of(text: str) -> list[str]:
    document, problems = parse_document(text, "t.yaml"), list[Problem]()
    parse_tree(document, document.data, (), problems)
    return list(map(str, problems))


BLOCK = """\
lr:
  distribution: uniform
  high: 1.0
  low: {low}
  step: {step}
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BLOCK.format(low=2, step="null"), "t.yaml:4: lr: low is 2.0, must be below high (1.0)"),
        (BLOCK.format(low=0, step=0.3), "t.yaml:5: lr: step is 0.3, must divide high - low (1); high: 0.9 would do"),
        (BLOCK.format(low="x", step=0.5), "t.yaml:4: lr.low: is 'x', must be a number"),
        (BLOCK.format(low="'0.1'", step=0.5), "t.yaml:4: lr.low: is '0.1', must be a number; write it without quotes"),
        (BLOCK.format(low="true", step=0.5), "t.yaml:4: lr.low: is true, must be a number"),
        (BLOCK.format(low="{distribution: int, low: 1, high: 2}", step=0.5),
         "t.yaml:4: lr.low: is int [1, 2], must be a number"),
        (BLOCK.format(low="{same_as: a}", step=0.5), "t.yaml:4: lr.low: is same as a, must be a number"),
        ("a:\n- {distribution: gauss, mu: 1}", "t.yaml:2: a.0.distribution: is 'gauss', must be one of uniform, "
                                               "loguniform, int, choice"),
        ("a: {distribution: Unifrom, low: 0, high: 1}", "t.yaml:1: a.distribution: is 'Unifrom', must be one of "
         "uniform, loguniform, int, choice; did you mean uniform?"),
        ("a: {distribution: null}", "t.yaml:1: a.distribution: is null, must be one of uniform, loguniform, int, "
         "choice"),
        ("a: {distribution: [int]}", 't.yaml:1: a.distribution: is ["int"], must be one of uniform, loguniform, int, '
         "choice"),
        ("a: {distribution: int, low: 1, high: 2, stp: 1}", "t.yaml:1: a.stp: unknown key; did you mean step?"),
        ("a: {distribution: loguniform, low: 1, high: 2, p: 1}", "t.yaml:1: a.p: unknown key; allowed: distribution, "
         "low, high"),
        ("a: {distribution: choice, choices: 3}", "t.yaml:1: a.choices: is 3, must be a list; write [3]"),
        ("a: {distribution: choice, choices: []}", "t.yaml:1: a.choices: is [], must hold 1 or more entries"),
        ("a:\n  distribution: choice\n  choices: [1, 1]", "t.yaml:3: a: choices.1 (1) is the same as choices.0; leave "
         "one out"),
        ("a: {same_as: [b]}", 't.yaml:1: a.same_as: is ["b"], must be text'),
        ("a: {same_as: ''}", "t.yaml:1: a.same_as: is '', must not be empty"),
        ("a: {same_as: b, low: 1}", "t.yaml:1: a.low: unknown key; allowed: same_as"),
    ],
)  # fmt: skip
def test_a_bad_distribution_is_told_at_its_line(text: str, line: str) -> None:
    assert problems_of(text) == [line]


def test_every_problem_of_a_distribution_is_told() -> None:
    assert problems_of("a:\n  distribution: int\n  mim: 1\n  low: x\n") == [
        "t.yaml:4: a.low: is 'x', must be a whole number",
        "t.yaml:1: a.high: is missing",
        "t.yaml:3: a.mim: unknown key; allowed: distribution, low, high, step, log",
    ]
