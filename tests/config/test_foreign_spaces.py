"""Search spaces in the words of other tools: one line each, which says what we write."""

from __future__ import annotations

from typing import Any

import pytest

from codeq.config import boundary_check
from codeq.config.document import parse_document
from codeq.config.foreign_spaces import in_our_words, outline
from tests.config.texts import LASSO, PLAIN, edited, load, problems, searched, with_quantizer

LR = "optimizer.param_groups.base.lr"
NO_STEP = " (a logarithmic range has no step)"
NORMAL = " (its mean ± 2 standard deviations; normal distributions are not drawn from)"
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
    ("{distribution: q_uniform, min: 0, max: 1, q: 0.3}", "{distribution: uniform, low: 0, high: 0.9, step: 0.3}"),
    ("{distribution: q_uniform, min: 0.05, max: 1, q: 0.1}", "{distribution: uniform, low: 0.1, high: 1, step: 0.1}"),
    ("{distribution: q_uniform, min: 8, max: 64, q: 8}", "{distribution: int, low: 8, high: 64, step: 8}"),
    ("{distribution: q_log_uniform_values, min: 1, max: 64, q: 1}", "{distribution: int, low: 1, high: 64, log: true}"),
    ("{distribution: q_log_uniform_values, min: 0.1, max: 1, q: 0.1}",
     f"{{distribution: loguniform, low: 0.1, high: 1}}{NO_STEP}"),
    ("{distribution: inv_log_uniform_values, min: 0.1, max: 1}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("{distribution: categorical, values: [0.1, 0.2], probabilities: [0.9, 0.1]}",
     "{distribution: choice, choices: [0.1, 0.2]} (each value is as likely as the others)"),
    ("{distribution: constant, value: 0.1}", "0.1"),
    ("{value: {min: 0.1, max: 1}}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: normal, mu: 3, sigma: 1}", f"{{distribution: uniform, low: 1, high: 5}}{NORMAL}"),
    ("{distribution: normal, mu: 0, sigma: 0.5}", f"{{distribution: uniform, low: 0, high: 1.0}}{NORMAL}"),
    ("{distribution: log_normal, mu: -4.605, sigma: 1}",
     f"{{distribution: loguniform, low: 0.001354, high: 0.0739}}{NORMAL.replace('its', 'e to the power of its')}"),
    ("{uniform: {low: 0.1, high: 1}}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{log_uniform_values: {min: 0.1, max: 1}}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("{choice: {values: [1, 2]}}", "{distribution: choice, choices: [1, 2]}"),
    ("{values: [{min: 0.1, max: 1}, 2]}",
     "{distribution: choice, choices: [{distribution: uniform, low: 0.1, high: 1}, 2]}"),
    ("{type: range, bounds: [0.1, 1], log_scale: true}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("{distribution: loguniform, range: [0.001, 0.1]}", "{distribution: loguniform, low: 0.001, high: 0.1}"),
    ("{range: [0.001, 0.1]}", "{distribution: uniform, low: 0.001, high: 0.1}"),
]
NNI = [
    ("{_type: uniform, _value: [0.1, 1]}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{_type: loguniform, _value: [0.1, 1]}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("{_type: quniform, _value: [0, 1, 0.25]}", "{distribution: uniform, low: 0, high: 1, step: 0.25}"),
    ("{_type: randint, _value: [1, 8]}", "{distribution: int, low: 1, high: 7}"),
    ("{_type: choice, _value: [0.1, 0.2]}", "{distribution: choice, choices: [0.1, 0.2]}"),
    ("{_type: normal, _value: [3, 1]}", f"{{distribution: uniform, low: 1, high: 5}}{NORMAL}"),
]
HYPEROPT = [
    ("hp.uniform('lr', 0.1, 1)", "{distribution: uniform, low: 0.1, high: 1}"),
    ("hp.loguniform('lr', -4.605, 0)", "{distribution: loguniform, low: 0.01, high: 1.0}"),
    ("hp.choice('lr', [0.1, 0.2])", "{distribution: choice, choices: [0.1, 0.2]}"),
]
RAY = [
    ("{lower: 0.1, upper: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: randint, lower: 1, upper: 8}", "{distribution: int, low: 1, high: 7}"),
    ("{grid_search: [1, 2]}", "{distribution: choice, choices: [1, 2]}"),
    ("{loguniform: [0.01, 1]}", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("tune.loguniform(1e-2, 1)", "{distribution: loguniform, low: 0.01, high: 1}"),
    ("tune.quniform(0, 1, 0.1)", "{distribution: uniform, low: 0, high: 1, step: 0.1}"),
    ("tune.choice([1, 2])", "{distribution: choice, choices: [1, 2]}"),
    ("tune.quniform(1, 10, 2)", "{distribution: int, low: 2, high: 10, step: 2}"),
    ("tune.qrandint(2, 9, 2)", "{distribution: int, low: 2, high: 8, step: 2}"),
    ("tune.qloguniform(0.1, 1, 0.1)", f"{{distribution: loguniform, low: 0.1, high: 1}}{NO_STEP}"),
    ("tune.randn(3, 1)", f"{{distribution: uniform, low: 1, high: 5}}{NORMAL}"),
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
    ('trial.suggest_categorical("a", [0.1, 0.2])', "{distribution: choice, choices: [0.1, 0.2]}"),
    ('trial.suggest_categorical("a", choices=[0.1, 0.2])', "{distribution: choice, choices: [0.1, 0.2]}"),
    ('trial.suggest_discrete_uniform("a", 0.1, 1, 0.2)', "{distribution: uniform, low: 0.1, high: 0.9, step: 0.2}"),
    ("{distribution: IntLogUniformDistribution, low: 1, high: 8}", "{distribution: int, low: 1, high: 8, log: true}"),
]
DETERMINED = [
    ("{type: double, minval: 0.1, maxval: 1.0}", "{distribution: uniform, low: 0.1, high: 1.0}"),
    ("{type: int, minval: 1, maxval: 8}", "{distribution: int, low: 1, high: 8}"),
    ("{type: categorical, vals: [0.1, 0.2]}", "{distribution: choice, choices: [0.1, 0.2]}"),
]
NEARLY_OURS = [
    ("{choices: [1, 2]}", "{distribution: choice, choices: [1, 2]}"),
    ("{distribution: Uniform, low: 0, high: 1}", "{distribution: uniform, low: 0, high: 1}"),
    ("{distribution: loguniform, low: 1, high: 2, q: 1}", "{distribution: int, low: 1, high: 2, log: true}"),
    ("{low: 0.1, high: 1}", "{distribution: uniform, low: 0.1, high: 1}"),
    ("{distribution: uniform, low: 0.1, high: 1, log: true}", "{distribution: loguniform, low: 0.1, high: 1}"),
    ("[0.1, 0.2]", "{distribution: choice, choices: [0.1, 0.2]}"),
]
ALL = [*WANDB, *NNI, *HYPEROPT, *RAY, *HYDRA, *OPTUNA, *DETERMINED, *NEARLY_OURS]


@pytest.mark.parametrize(("written", "ours"), ALL)
def test_a_space_in_other_words_is_one_line_that_says_ours(written: str, ours: str) -> None:
    (line,) = problems(edited(("base: {lr: 0.001}", f"base:\n      lr: {written}")))
    assert line.startswith(f"t.yaml:11: {LR}: is ")
    assert line.endswith(f"; write {ours}")


def quoted(written: str) -> str:
    """A space as it may stand in a list in brackets."""
    return written if written.startswith("{") else f"'{written}'"


def pasted(line: str) -> str:
    """What a line says to write."""
    return line.partition("; write ")[2].partition(" (")[0]


@pytest.mark.parametrize(("written", "ours"), ALL)
def test_what_the_line_says_is_a_space_that_loads(written: str, ours: str) -> None:
    text = edited(("base: {lr: 0.001}", f"base:\n      lr: {pasted(f'; write {ours}')}"))
    assert problems(text) == []
    assert (LR in searched(load(text))) is (ours != "0.1")


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("{distribution: q_uniform, min: 8, max: 64, q: 8}", "{distribution: int, low: 8, high: 64, step: 8}"),
        ("{distribution: q_uniform, min: 8.0, max: 60.0, q: 8.0}", "{distribution: int, low: 8, high: 56, step: 8}"),
        ("{distribution: uniform, min: 8, max: 64}", "{distribution: int, low: 8, high: 64}"),
        ("{min: 7.5, max: 64.5}", "{distribution: int, low: 8, high: 64}"),
        ("{distribution: log_uniform_values, min: 8, max: 64}", "{distribution: int, low: 8, high: 64, log: true}"),
        ("{distribution: log_uniform, min: 2.0, max: 5.0}", "{distribution: int, low: 8, high: 148, log: true}"),
        ("{distribution: q_log_uniform_values, min: 8, max: 64, q: 8}",
         f"{{distribution: int, low: 8, high: 64, log: true}}{NO_STEP}"),
        ("tune.uniform(8, 64)", "{distribution: int, low: 8, high: 64}"),
        ("{distribution: normal, mu: 32, sigma: 8}", f"{{distribution: int, low: 16, high: 48}}{NORMAL}"),
        ("{distribution: normal, mu: 64, sigma: 100}", f"{{distribution: int, low: 1, high: 264}}{NORMAL}"),
    ],
)  # fmt: skip
def test_a_key_of_whole_numbers_gets_whole_numbers(written: str, ours: str) -> None:
    (line,) = problems(f"{PLAIN}batch_size: {written}\n")
    assert line.startswith("t.yaml:15: batch_size: is ") and line.endswith(f"; write {ours}")
    assert problems(f"{PLAIN}batch_size: {pasted(line)}\n") == []
    (nested,) = problems(f"{PLAIN}batch_size: {{distribution: choice, choices: [8, {quoted(written)}]}}\n")
    assert nested.startswith("t.yaml:15: batch_size.choices.1: is ") and nested.endswith(f"; write {ours}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{distribution: uniform, min: 0.1}", "{distribution: uniform, low: 0.1, high: ...}"),
        ("{distribution: log_uniform_values, max: 0.1, mini: 0.01}",
         "{distribution: loguniform, low: ..., high: 0.1}"),
        ("{distribution: q_uniform, q: 0.1}", "{distribution: uniform, low: ..., high: ...}"),
        ("{distribution: int_uniform, min: 1, max: null}", "{distribution: int, low: 1, high: ...}"),
        ("{distribution: categorical}", "{distribution: choice, choices: [...]}"),
        ("{distribution: normal, mu: 0}", f"{{distribution: uniform, low: ..., high: ...}}{NORMAL}"),
        ("{_type: uniform}", "{distribution: uniform, low: ..., high: ...}"),
        ("{distribution: uniform, min: 1, low: x}", "{distribution: uniform, low: ..., high: ...}"),
        ("{values: [1, {distribution: normal, mu: 0}]}",
         "{distribution: choice, choices: [1, {distribution: normal, mu: 0}]}: a space in it is incomplete"),
        ("{min: 5.0, max: 2.0}", "{distribution: uniform, low: ..., high: ...}: low is 5.0, must be below high (2.0)"),
        ("{min: -1.0, max: 2.0}",
         "{distribution: uniform, low: ..., high: ...}: low is -1.0, must be greater than or equal to 0"),
        ("{distribution: log_uniform_values, min: 0, max: 1}",
         "{distribution: loguniform, low: ..., high: ...}: low is 0.0, must be above 0 for a logarithm"),
        ("{values: [0.1, x]}", "{distribution: choice, choices: [0.1, x]}: is 'x', must be a number"),
    ],
)  # fmt: skip
def test_a_space_that_lacks_something_is_one_line_with_what_it_lacks(written: str, said: str) -> None:
    (line,) = problems(edited(("base: {lr: 0.001}", f"base:\n      lr: {written}")))
    assert line.startswith(f"t.yaml:11: {LR}") and line.endswith(f"; write {said}")


def test_a_space_in_other_words_hides_no_other_problem_and_makes_none() -> None:
    sweep = "sweep: {trials: 5, enqueue: [{batch_size: 9}]}"
    spaces = "batch_size: {min: 8, max: 64}\nseed: {distribution: q_uniform, min: 0, max: 9, q: 3}"
    assert problems(f"{PLAIN}{spaces}\nworkers: x\n{sweep}\n") == [
        't.yaml:15: batch_size: is {"min": 8, "max": 64}; write {distribution: int, low: 8, high: 64}',
        't.yaml:16: seed: is {"distribution": "q_uniform", "min": 0, "max": 9, "q": 3}; write {distribution: int, '
        "low: 0, high: 9, step: 3}",
        "t.yaml:17: workers: is 'x', must be a whole number",
    ]


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
        (edited(("[bn]", "{values: [[bn], [conv1]]}")),
         '6: quantizer.exclude_layers: is {"values": [["bn"], ["conv1"]]}; write {distribution: choice, choices: '
         "[[bn], [conv1]]}"),
        (edited(("resnet20", "{name: vit, kwargs: {depth: {min: 2, max: 4}}}")),
         '1: model.kwargs.depth: is {"min": 2, "max": 4}; write {distribution: int, low: 2, high: 4}'),
        (edited(("[bn]", "{min: 1, max: 2}")),
         '6: quantizer.exclude_layers: is {"min": 1, "max": 2}, must be a list; a choice of lists is {distribution: '
         "choice, choices: [[...], [...]]}"),
        (edited(("base: {lr: 0.001}", "base: {lr: {distribution: uniform, low: {min: 1, max: 2}, high: 3}}")),
         f'10: {LR}.low: is {{"min": 1, "max": 2}}, must be a number'),
        (f"{PLAIN}dvice: {{values: [cpu, mps]}}\n", "15: dvice: unknown key; did you mean device?"),
        (f"{PLAIN}device: {{values: [cpu, mps]}}\n",
         '15: device: is {"values": ["cpu", "mps"]}, must be one value for the whole sweep: the sweep places all its '
         "trials alike"),
    ],
)  # fmt: skip
def test_a_section_in_other_words_is_one_line_too(text: str, line: str) -> None:
    assert problems(text) == [f"t.yaml:{line}"]


def test_a_mapping_is_a_space_only_where_its_key_could_be_searched_as_a_whole() -> None:
    (line,) = problems(edited(("resnet20", "{values: [resnet20, resnet21]}")))
    advice = "write {distribution: choice, choices: [resnet20, resnet21]}: is 'resnet21', must be one of resnet20, "
    assert line.startswith(f't.yaml:1: model: is {{"values": ["resnet20", "resnet21"]}}; {advice}')
    (line,) = problems(edited(("{max_bits: 8}", "{values: [2, 3]}")))
    assert line.startswith("t.yaml:5: quantizer.kwargs.values: unknown key; allowed for deadzone: fixed_bit_val, ")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{distribution: beta, a: 0, b: 1}",
         f"{LR}.distribution: is 'beta', must be one of uniform, loguniform, int, choice"),
        ("{min: 2}", f'{LR}: is {{"min": 2}}, must be a number; a range is {{distribution: uniform, low: ..., high: '
         "...}"),
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
    assert ours is not None
    text = outline(ours.spaces[0])
    assert "\n" not in text
    assert parse_document(text, "").data["choices"] == ["a: b", None, {"name": "x" * 200}, "1e3"]


def test_many_spaces_in_other_words_take_a_few_draws_each(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[None] = []
    draw = boundary_check.SampledConfig
    monkeypatch.setattr(boundary_check, "SampledConfig", lambda *given: drawn.append(None) or draw(*given))
    spaces = ", ".join(f"{{min: 0.{number}1, max: 2}}" for number in range(10, 60))
    text = edited(("base: {lr: 0.001}", f"base:\n      lr: {{distribution: choice, choices: [{spaces}]}}"))
    assert len(problems(text)) == 50
    assert len(drawn) < 50 * 10


@pytest.mark.parametrize(
    ("call", "ours"),
    [
        ("loguniform(1e-4, 1e-1)", "{distribution: loguniform, low: 0.0001, high: 0.1}"),
        ("choice(0.1, 0.2, 0.3)", "{distribution: choice, choices: [0.1, 0.2, 0.3]}"),
    ],
)
def test_a_call_in_braces_is_one_line_though_a_comma_ends_a_text_there(call: str, ours: str) -> None:
    lines = problems(edited(("base: {lr: 0.001}", f"base: {{lr: {call}, weight_decay: 0.1}}")))
    assert lines == [f"t.yaml:10: {LR}: is '{call}'; write {ours}"]


def test_what_is_no_call_is_cut_at_its_comma_as_yaml_says() -> None:
    (line,) = problems(edited(("base: {lr: 0.001}", "base: {lr: 0.001, decay, }")))
    assert line.startswith("t.yaml:10: optimizer.param_groups.base.decay: unknown key")
    (line,) = problems(edited(("base: {lr: 0.001}", "base: {lr: f(0.1, weight_decay: 0.1}")))
    assert line == f"t.yaml:10: {LR}: is 'f(0.1', must be a number"


def test_a_decimal_comma_is_told_as_a_point() -> None:
    assert problems(edited(("base: {lr: 0.001}", "base:\n      lr: 0,001"))) == [
        f"t.yaml:11: {LR}: is '0,001'; write 0.001"
    ]


def test_a_mapping_that_is_not_recognized_is_told_what_a_range_is() -> None:
    (line,) = problems(edited(("base: {lr: 0.001}", "base: {lr: {feasible: {least: 0.1}}}")))
    assert line == (f't.yaml:10: {LR}: is {{"feasible": {{"least": 0.1}}}}, must be a number; a range is '
                    "{distribution: uniform, low: ..., high: ...}")  # fmt: skip
