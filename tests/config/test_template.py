"""The template as a whole: what is searched, drawn, written back, and that no text makes it fall over."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codeq.config import ConfigError, Template
from codeq.config.distributions import Choice, Distribution
from tests.config.texts import LASSO, PLAIN, edited, load, problems, searched, with_quantizer

EVERYTHING = edited(
    ("epochs: 10", "epochs: {distribution: int, low: 1, high: 64, log: true}"),
    ("[bn]", "[bn, {distribution: choice, choices: [fc, conv1]}]"),
    ("lr: 0.001}", "lr: {distribution: loguniform, low: 1e-4, high: 0.1}, betas: [{distribution: uniform, low: 0.5, "
                   "high: 0.9, step: 0.1}, 0.99]}"),
    ("lr: 0.001, weight_decay: 2.5", "lr: {same_as: optimizer.param_groups.base.lr}"),
    ("lambda: 1.0", "lambda: {distribution: choice, choices: [0.0, {distribution: loguniform, low: 1e-5, high: 1}]}"),
    ("max_bits: 8", "max_bits: {distribution: int, low: 2, high: 8, step: 2}"),
)  # fmt: skip

TWO_DEEP = with_quantizer("""
  distribution: choice
  choices:
  - null
  - name: uniform
    kwargs: {bitwidth: {distribution: int, low: 2, high: 8}}
  - name: deadzone
    kwargs:
      distribution: choice
      choices:
      - {learnable_bit: false, fixed_bit_val: {distribution: choice, choices: [2, 4]}}
      - {max_bits: {distribution: int, low: 3, high: 8}}""")

BETAS = "optimizer.param_groups.base.betas.0"
LR = "optimizer.param_groups.base.lr"


def anything(rng: random.Random, distribution: Distribution) -> Any:
    """A random value that can be drawn."""
    if isinstance(distribution, Choice):
        return rng.choice(distribution.labels)
    low, high = distribution.low, distribution.high
    if isinstance(low, int):
        return rng.randrange(low, int(high) + 1, getattr(distribution, "step", 1))
    step = getattr(distribution, "step", None)
    return low + rng.randrange(int(distribution.size())) * step if step else rng.uniform(low, high)


def test_distributions_may_stand_anywhere() -> None:
    assert searched(load(EVERYTHING)) == {
        "epochs": "int [1, 64] log",
        "quantizer.kwargs.max_bits": "int [2, 8] step 2",
        "quantizer.exclude_layers.1": "choice of fc | conv1",
        LR: "loguniform [0.0001, 0.1]",
        BETAS: "uniform [0.5, 0.9] step 0.1",
        LASSO: "choice of 0.0 | loguniform [1e-05, 1]",
        f"{LASSO}.choices.1": "loguniform [1e-05, 1]",
    }


def test_a_whole_section_may_be_a_choice_two_deep() -> None:
    template = load(TWO_DEEP)
    assert searched(template) == {
        "quantizer": "choice of null | name=uniform | name=deadzone",
        "quantizer.kwargs.bitwidth": "int [2, 8]",
        "quantizer.kwargs": "choice of learnable_bit=false, fixed_bit_val=(choice of 2 | 4) | max_bits=int [3, 8]",
        "quantizer.kwargs.fixed_bit_val": "choice of 2 | 4",
        "quantizer.kwargs.max_bits": "int [3, 8]",
    }
    assert [parameter.conditional for parameter in template.parameters] == [False, True, True, True, True]


def test_a_choice_draws_only_what_it_holds() -> None:
    template = load(TWO_DEEP)
    asked: list[str] = []

    def last(name: str, distribution: Distribution) -> Any:
        asked.append(name)
        return list(distribution.bounds().values())[-1]

    quantizer = template.draw(last).as_dict()["quantizer"]
    assert asked == ["quantizer", "quantizer.kwargs", "quantizer.kwargs.max_bits"]
    assert (quantizer["name"], quantizer["kwargs"]["max_bits"]) == ("deadzone", 8)
    assert template.draw(lambda name, distribution: "null").quantizer is None


def test_different_distributions_for_one_key_are_drawn_under_names_of_their_own() -> None:
    entry = "{{name: deadzone, kwargs: {{max_bits: {{distribution: int, low: 2, high: {}}}}}, exclude_layers: [{}]}}"
    choices = f"{entry.format(4, 'a')}, {entry.format(8, 'b')}"
    template = load(with_quantizer(f"{{distribution: choice, choices: [{choices}]}}"))
    assert list(searched(template)) == [
        "quantizer", "quantizer.choices.0.kwargs.max_bits", "quantizer.choices.1.kwargs.max_bits",
    ]  # fmt: skip
    values = {"quantizer": 'exclude_layers=["b"]', "quantizer.choices.1.kwargs.max_bits": 7}
    quantizer = template.draw(lambda name, distribution: values[name]).as_dict()["quantizer"]
    assert (quantizer["kwargs"]["max_bits"], quantizer["exclude_layers"]) == (7, ["b"])


@pytest.mark.parametrize("text", [EVERYTHING, TWO_DEEP])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_every_draw_is_a_valid_config_inside_its_ranges(text: str, seed: int) -> None:
    template, rng = load(text), random.Random(seed)

    def suggest(name: str, distribution: Distribution) -> Any:
        value = anything(rng, distribution)
        assert distribution.contains(value), (name, value)
        return value

    config = template.draw(suggest)
    assert 1 <= config.epochs <= template.max_epochs


def test_a_reference_is_drawn_with_its_target() -> None:
    rng = random.Random(0)
    groups = load(EVERYTHING).draw(lambda name, distribution: anything(rng, distribution)).optimizer.param_groups
    assert groups.dz is not None
    assert groups.dz.lr == groups.base.lr != 0.001


def test_values_that_do_not_fit_together_are_told_at_their_line() -> None:
    template = load(edited(("epochs: 10", "epochs: {distribution: int, low: 1, high: 9}")))
    with pytest.raises(ConfigError, match=r"^t\.yaml:2: epochs: is 0, must be greater than or equal to 1$"):
        template.draw(lambda name, distribution: 0)


@pytest.mark.parametrize(
    ("epochs", "most"),
    [
        ("7", 7),
        ("{distribution: int, low: 1, high: 9}", 9),
        ("{distribution: choice, choices: [3, {distribution: int, low: 4, high: 12}, 5]}", 12),
        ("{same_as: batch_size}\nbatch_size: {distribution: int, low: 1, high: 64}", 64),
    ],
)
def test_the_most_epochs_are_known_before_anything_is_drawn(epochs: str, most: int) -> None:
    assert load(edited(("epochs: 10", f"epochs: {epochs}"))).max_epochs == most


def test_a_plain_file_is_one_run_config() -> None:
    template = load(PLAIN)
    assert template.parameters == ()
    assert (template.sweep.trials, template.sweep.name) == (1, "t")
    assert template.run_config().run_name == "resnet20_deadzone8b_e10_lr0.001"


def test_a_single_run_of_a_search_space_is_told_which_values_it_lacks() -> None:
    with pytest.raises(ConfigError) as caught:
        load(TWO_DEEP, "epochs={distribution: int, low: 1, high: 3}").run_config()
    needs = "a single run needs one value: give it with --set, or run tune_main.py"
    assert str(caught.value).splitlines() == [
        f"--set: epochs: is a distribution (int [1, 3]); {needs}",
        f"t.yaml:3: quantizer: is a distribution (choice of null | name=uniform | name=deadzone); {needs}",
    ]
    assert load(TWO_DEEP, "quantizer={name: uniform}").run_config().quantizer is not None


def test_a_search_is_24_trials_unless_the_file_says_otherwise() -> None:
    assert load(EVERYTHING).sweep.trials == 24
    assert load(f"{TWO_DEEP}sweep: {{trials: 3}}\n").sweep.trials == 3


def test_what_turns_out_later_is_said_with_the_line_of_its_key() -> None:
    template = load(f"{TWO_DEEP}sweep:\n  trials: 3\n")
    line = template.source.read_text().splitlines().index("  trials: 3") + 1
    assert str(template.problem("sweep.trials", "is odd")) == f"{template.source}:{line}: sweep.trials: is odd"


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_there_are_at_most_as_many_trials_as_configs(sampler: str) -> None:
    sampler = f"sweep.search.sampler={sampler}"
    template = load(TWO_DEEP, "seed={distribution: int, low: 0, high: 4, step: 2}", sampler)
    assert template.sweep.trials == 24
    assert load(TWO_DEEP, sampler).sweep.trials == 1 + 7 + 2 + 6
    assert load(TWO_DEEP, sampler, "sweep.trials=3").sweep.trials == 3


@pytest.mark.parametrize(
    ("file", "name"), [("dz_wd.yaml", "dz_wd"), ("my sweep.yaml", "my-sweep"), (".yaml", "yaml"), ("..yaml", "sweep"),
                       ("ü.yaml", "sweep"), ("a\nb.yaml", "a-b"), (f"{'x' * 120}.yaml", "x" * 64)]
)  # fmt: skip
def test_a_sweep_without_a_name_takes_one_from_its_file_that_a_folder_can_have(file: str, name: str) -> None:
    template = load(PLAIN, name=file)
    assert template.sweep.name == name
    assert problems(template.to_yaml()) == []


SWEEP = f"sweep: {{name: x, trials: 7, objectives: {{rel_bops: min}}, enqueue: [{{{LR}: 0.01}}]}}\n"


@pytest.mark.parametrize("text", [PLAIN, TWO_DEEP, EVERYTHING, EVERYTHING + SWEEP])
def test_a_template_written_out_loads_again_to_an_equal_one(text: str) -> None:
    template = load(text)
    again = load(template.to_yaml(), name="again.yaml")
    assert again.tree == template.tree
    assert again.sweep == template.sweep
    assert again.parameters == template.parameters
    assert again.to_yaml() == template.to_yaml()


def test_a_written_template_holds_what_was_extended_and_set() -> None:
    Path("base.yaml").write_text(EVERYTHING)
    template = load("extends: base.yaml\nseed: 3\n", f"{LR}=1e-3", "data_dir='1e3'", "sweep.trials=5")
    again = load(template.to_yaml(), name="again.yaml")
    assert "extends" not in template.to_yaml()
    assert (again.tree, again.sweep) == (template.tree, template.sweep)
    assert (again.tree["seed"], again.tree["data_dir"]) == (3, "1e3")


def test_a_written_template_holds_no_password() -> None:
    template = load(f"{PLAIN}sweep: {{study: 'postgresql://user:p:a@ss@host/db?x=1'}}\n")
    assert "postgresql://user:***@host/db?x=1" in template.to_yaml()
    assert template.sweep.study == "postgresql://user:p:a@ss@host/db?x=1"
    assert "sqlite:////a/b@c.db" in load(f"{PLAIN}sweep: {{study: 'sqlite:////a/b@c.db'}}\n").to_yaml()


KEYS = st.sampled_from(
    "model epochs quantizer optimizer name type kwargs param_groups base dz lr weight_decay loss_terms lambda betas "
    "distribution low high step log choices same_as sweep extends objectives enqueue trials exclude_layers".split()
) | st.text(string.printable, max_size=4)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from("uniform loguniform int choice deadzone adamw sgd group_lasso epochs t.yaml".split())
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def assert_loads_or_is_told(text: str) -> None:
    Path("t.yaml").write_text(text, encoding="utf-8", errors="replace")
    try:
        template = Template.load("t.yaml")
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines and len(lines) == len(error.problems)
        assert all(line.isprintable() and line.startswith(("t.yaml:", "t.yaml: ")) for line in lines)
    else:
        assert problems(template.to_yaml(), name="again.yaml") == []


@given(text=st.text(alphabet="abe:{}[]-?*&!|>'\"%@#, \n\t.01~=<\u00e9\u2028\x00", max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_fall_over(text: str) -> None:
    assert_loads_or_is_told(text)


@given(path=st.sampled_from(PLAIN.splitlines()), value=VALUES)
@settings(max_examples=150, deadline=None)
@example(path="  name: deadzone", value={"distribution": "choice", "choices": [{"name": 1}, {"name": 1}]})
@example(path="epochs: 10", value={"distribution": "uniform", "low": 0, "high": 1e308, "step": 1e-308})
@example(path="quantizer:", value={"distribution": "choice", "choices": [None], "weights": 1})
def test_no_value_at_any_place_makes_it_fall_over(path: str, value: Any) -> None:
    key = path.partition(":")[0]
    written = yaml.safe_dump({"x": value}, default_flow_style=True, width=10**6).strip()[4:-1]
    assert_loads_or_is_told(edited((path, f"{key}: {written}")))


@pytest.mark.parametrize(
    ("study", "masked"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db?user=me&password=***"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
    ],
)
def test_no_password_of_a_study_url_reaches_the_resolved_template(tmp_path: Path, study: str, masked: str) -> None:
    (tmp_path / "t.yaml").write_text("model: mlp\noptimizer: {type: sgd, param_groups: {base: {lr: 0.1}}}\n")
    text = Template.load(tmp_path / "t.yaml", [f"sweep.study={study}"]).to_yaml()
    assert masked in text and "s3cret" not in text


def test_a_storage_url_with_a_key_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("model: mlp\noptimizer: {type: sgd, param_groups: {base: {lr: 0.1}}}\n")
    with pytest.raises(ConfigError, match="environment variables"):
        Template.load(tmp_path / "t.yaml", ["sweep.storage=s3://KEY:SECRET@bucket/x"])
