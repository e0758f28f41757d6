"""Search spaces in the words of other tools: one line each, which says what we write."""

from __future__ import annotations

from typing import Any

import pytest

from codeq.config.document import parse_document
from codeq.config.foreign_spaces import in_our_words
from tests.config.texts import LASSO, PLAIN, edited, load, problems, searched, with_quantizer

LR = "optimizer.param_groups.base.lr"
WANDB = [
    ("{values: [0.1, 0.2]}", "{distribution: choice, choices: [0.1, 0.2]}"),
    ("{distribution: categorical, values: [0.1, 0.2]}", "{distribution: choice, choices: [0.1, 0.2]}"),
    ("{value: 0.1}", "0.1"),
    ("{min: 0.1, max: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{min: 1, max: 8}", "{distribution: int, low: 1, high: 8}"),
    ("{distribution: int_uniform, min: 1, max: 8}", "{distribution: int, low: 1, high: 8}"),
    ("{distribution: uniform, min: 0.1, max: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: log_uniform_values, min: 0.01, max: 1}", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("{distribution: log_uniform, min: -4.605, max: 0}", "{distribution: loguniform, low: 0.01, high: 1.0}"),
    ("{distribution: log_uniform, min: 0.01, max: 1000}", "{distribution: loguniform, low: 0.01, high: 1000}"),
    ("{distribution: q_uniform, min: 0, max: 1, q: 0.1}", "{distribution: uniform, low: 0, high: 1, step: 0.1}"),
]
RAY = [
    ("{lower: 0.1, upper: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: randint, lower: 1, upper: 8}", "{distribution: int, low: 1, high: 7}"),
    ("{grid_search: [1, 2]}", "{distribution: choice, choices: [1, 2]}"),
    ("{loguniform: [0.01, 1]}", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("tune.loguniform(1e-2, 1)", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("tune.quniform(0, 1, 0.1)", "{distribution: uniform, low: 0, high: 1, step: 0.1}"),
    ("tune.choice([1, 2])", "{distribution: choice, choices: [1, 2]}"),
    ("tune.lograndint(lower=1, upper=9)", "{distribution: int, low: 1, high: 8, log: true}"),
]
HYDRA = [
    ("{type: categorical, choices: [1, 2]}", "{distribution: choice, choices: [1, 2]}"),
    ("{type: float, low: 0.01, high: 1, log: true}", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("{type: int, low: 1, high: 8, step: 7}", "{distribution: int, low: 1, high: 8, step: 7}"),
    ("choice(1, 2)", "{distribution: choice, choices: [1, 2]}"),
    ("interval(0.01, 1)", "{distribution: uniform, low: 0.01, high: 1}"),
    ("tag(log, interval(0.01, 1))", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("range(1, 9, step=2)", "{distribution: int, low: 1, high: 7, step: 2}"),
    ("0.1,0.2", "{distribution: choice, choices: [0.1, 0.2]}"),
]
OPTUNA = [
    ("{distribution: float, low: 0.1, high: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: IntDistribution, low: 1, high: 8}", "{distribution: int, low: 1, high: 8}"),
    ('trial.suggest_float("lr", 0.01, 1, log=True)', "{distribution: loguniform, low: 0.01, high: 1}"),
]
NEARLY_OURS = [
    ("{choices: [1, 2]}", "{distribution: choice, choices: [1, 2]}"),
    ("{low: 0.1, high: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: uniform, low: 0.1, high: 1, log: true}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("[0.1, 0.2]", "{distribution: choice, choices: [0.1, 0.2]}"),
]


@pytest.mark.parametrize(("written", "ours"), [*WANDB, *RAY, *HYDRA, *OPTUNA, *NEARLY_OURS])
def test_a_space_in_other_words_is_one_line_that_says_ours(written: str, ours: str) -> None:
    (line,) = problems(edited(("base: {lr: 0.001}", f"base:\n      lr: {written}")))
    assert line.startswith(f"t.yaml:11: {LR}: is ")
    assert line.endswith(f"; write {ours}")


@pytest.mark.parametrize(("written", "ours"), [*WANDB, *RAY, *HYDRA, *OPTUNA, *NEARLY_OURS])
def test_what_the_line_says_is_a_space_that_loads(written: str, ours: str) -> None:
    text = edited(("base: {lr: 0.001}", f"base:\n      lr: {ours}"))
    assert problems(text) == []
    assert (LR in searched(load(text))) is (ours != "0.1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (edited(("model: resnet20", "model: {values: [resnet20, mlp]}")),
         "1: model: is {\"values\": [\"resnet20\", \"mlp\"]}; write {distribution: choice, choices: [resnet20, mlp]}"),
        (edited(("model: resnet20", "model: resnet20,mlp")),
         "1: model: is 'resnet20,mlp'; write {distribution: choice, choices: [resnet20, mlp]}"),
        (with_quantizer("{values: [null, {name: uniform}]}"),
         '3: quantizer: is {"values": [null, {"name": "uniform"}]}; write {distribution: choice, choices: [null, '
         "{name: uniform}]}"),
        (edited(("lambda: 1.0", "lambda: {min: 0.0, max: 1.0}")),
         f'14: {LASSO}: is {{"min": 0.0, "max": 1.0}}; write {{distribution: uniform, low: 0.0, high: 1.0}}'),
    ],
)  # fmt: skip
def test_a_section_in_other_words_is_one_line_too(text: str, line: str) -> None:
    assert problems(text) == [f"t.yaml:{line}"]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{distribution: normal, mu: 0, sigma: 1}",
         f"{LR}.distribution: is 'normal', must be one of uniform, loguniform, int, choice; did you mean uniform?"),
        ("{distribution: loguniform, low: 0.1, hihg: 1}", f"{LR}.hihg: unknown key; did you mean high?"),
        ("{distribution: int, low: 5, high: 2, step: 1}", f"{LR}: low is 5, must be below high (2)"),
        ("{low: 2}", f'{LR}: is {{"low": 2}}, must be a number; a range is {{distribution: uniform, low: ..., high: '
         "...}"),
    ],
)  # fmt: skip
def test_what_means_none_of_our_distributions_is_told_as_before(written: str, reason: str) -> None:
    assert problems(edited(("base: {lr: 0.001}", f"base:\n      lr: {written}"))) == [f"t.yaml:11: {reason}"]


@pytest.mark.parametrize(
    "value",
    [0.1, None, True, "resnet20", "a b", "f(x", "sqrt(2)", [], [1], {}, {"name": "mlp", "kwargs": {}},
     {"type": "adamw"}, {"min": 1}, {"min": 1, "lower": 2, "max": 3}, {"values": []}, {"values": 3},
     {"min": "a", "max": "b"},
     {"distribution": "choice", "choices": [1, 2]}, {"distribution": "uniform", "low": 0, "high": 1}],
)  # fmt: skip
def test_other_values_are_no_spaces(value: Any) -> None:
    assert in_our_words(value) is None


def test_valid_values_are_never_taken_for_spaces() -> None:
    text = edited(("[bn]", "['choice(a, b)', 'x,y']"), ("resnet20", "{name: timm/x, kwargs: {min: 1, sizes: [1, 2]}}"))
    assert problems(text) == []


def test_nothing_below_sweep_is_searched_whatever_the_words() -> None:
    assert problems(f"{PLAIN}sweep: {{trials: {{distribution: int, low: 1, high: 3}}}}\n") == [
        't.yaml:15: sweep.trials: is {"distribution": "int", "low": 1, "high": 3}, must be a whole number; '
        "nothing below sweep can be searched"
    ]


def test_our_words_are_yaml_in_one_line() -> None:
    ours = in_our_words({"values": ["a: b", None, {"name": "x" * 200}, "1e3"]})
    assert ours is not None and "\n" not in ours
    assert parse_document(ours, "").data["choices"] == ["a: b", None, {"name": "x" * 200}, "1e3"]
