"""Checking a template: every end of every range, every choice, and mixtures of them, in few draws and little time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq.config import Template
from codeq.config.boundary_check import boundary_configs, corner_samples
from codeq.config.distributions import Int, LogUniform, Uniform
from codeq.config.document import KeyPath
from codeq.config.draw import SampledConfig
from codeq.config.errors import MAX_PROBLEMS
from codeq.config.run import RunConfig
from codeq.config.tree import distributions, get_path
from tests.config.texts import LASSO, PLAIN, QUANTIZER, WEIGHT_DECAY, edited, load, problems, with_quantizer

LR = "optimizer.param_groups.base.lr"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("epochs: 10", "epochs: {distribution: int, low: 0, high: 9}",
         ["2: epochs: low is 0, must be greater than or equal to 1"]),
        ("max_bits: 8", "max_bits: {distribution: int, low: 1, high: 17}",
         ["5: quantizer.kwargs.max_bits: high is 17, must be less than or equal to 16",
          "5: quantizer.kwargs.max_bits: low is 1, must be greater than or equal to 2"]),
        ("lr: 0.001}", "lr: {distribution: uniform, low: -1, high: 1}}",
         [f"10: {LR}: low is -1.0, must be greater than or equal to 0"]),
        ("epochs: 10", "epochs: {distribution: uniform, low: 1, high: 9}",
         ["2: epochs: is drawn from uniform, must be a whole number; use distribution: int"]),
        ("epochs: 10", "epochs: {distribution: choice, choices: [5, 0, x, 2.0]}",
         ["2: epochs: is 'x', must be a whole number", "2: epochs: is 0, must be greater than or equal to 1",
          "2: epochs: is 2.0, must be a whole number; write 2"]),
        ("model: resnet20", "model: {distribution: choice, choices: [mlp, resnet-20]}",
         ["1: model: is 'resnet-20', must be one of resnet20, resnet32, resnet44, resnet56, resnet110, mlp, vit or "
          "timm/NAME; did you mean resnet20?"]),
        ("epochs: 10", "precision: {distribution: int, low: 0, high: 2}",
         ["2: precision: high is 2, must be one of auto, fp32, tf32, bf16",
          "2: precision: low is 0, must be one of auto, fp32, tf32, bf16"]),
        ("[bn]", "[bn, {distribution: int, low: 1, high: 2}]",
         ["6: quantizer.exclude_layers.1: high is 2, must be text",
          "6: quantizer.exclude_layers.1: low is 1, must be text"]),
        ("{lr: 0.001}", "{lr: 0.1, betas: [0.9, {distribution: uniform, low: 0.9, high: 1}]}",
         ["10: optimizer.param_groups.base.betas.1: high is 1.0, must be less than 1"]),
    ],
)  # fmt: skip
def test_both_ends_and_every_choice_obey_the_fields_own_constraint(old: str, new: str, lines: list[str]) -> None:
    assert problems(edited((old, new))) == [f"t.yaml:{line}" for line in lines]


def test_an_end_is_told_at_the_line_where_it_stands() -> None:
    block = "epochs:\n  distribution: int\n  # the low end\n  low: 0\n  high: 5000000000\n"
    assert problems(edited(("epochs: 10\n", block))) == [
        "t.yaml:5: epochs: low is 0, must be greater than or equal to 1",
        "t.yaml:6: epochs: high is 5000000000, must be less than or equal to 2147483647",
    ]


def test_the_ends_of_a_range_inside_a_choice_inside_a_choice_are_checked() -> None:
    text = with_quantizer("""
  distribution: choice
  choices:
  - null
  - name: deadzone
    kwargs:
      distribution: choice
      choices:
      - {max_bits: 4}
      - max_bits:
          distribution: int
          low: 1
          high: 4""")
    assert problems(text) == ["t.yaml:14: quantizer.kwargs.max_bits: low is 1, must be greater than or equal to 2"]


def test_choices_that_are_good_alone_but_not_together_are_found() -> None:
    sgd = "{type: sgd, param_groups: {base: {lr: 1, momentum: {distribution: choice, choices: [0.9, 0.0]}, nesterov: "
    optimizer = PLAIN[PLAIN.index("optimizer:") : PLAIN.index("loss_terms:")]
    text = edited((optimizer, f"optimizer: {sgd}{{distribution: choice, choices: [false, true]}}}}}}}}\n"))
    assert problems(text) == [
        "t.yaml:7: optimizer.param_groups.base: nesterov is true, which needs momentum above 0 and dampening 0"
    ]


def test_an_invalid_choice_does_not_hide_an_invalid_end_elsewhere() -> None:
    text = edited(("type: adamw", "type: {distribution: choice, choices: [adam, xyz]}"),
                  ("{lr: 0.001}", "{lr: {distribution: choice, choices: [0.1, -1]}}"))  # fmt: skip
    assert problems(text) == [
        "t.yaml:8: optimizer.type: is 'xyz', must be one of adamw, adam, sgd",
        f"t.yaml:10: {LR}: is -1, must be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("epochs", "epochs leads in a circle or through too many references"),
        ("seed", "seed is not written in this file"),
        ("loss_terms.group_laso.lambda", "loss_terms.group_laso.lambda is not written in this file; did you mean "
                                         "loss_terms.group_lasso.lambda?"),
        ("sweep.trials", "sweep.trials is not written in this file"),
    ],
)  # fmt: skip
def test_a_reference_that_leads_nowhere_is_told_at_its_line(key: str, reason: str) -> None:
    assert problems(edited(("epochs: 10", f"epochs: {{same_as: {key}}}"))) == [f"t.yaml:2: epochs: same_as: {reason}"]


def test_a_reference_into_a_choice_that_is_not_always_drawn_is_told() -> None:
    text = with_quantizer("{distribution: choice, choices: [{name: uniform, kwargs: {bitwidth: 8}}, null]}")
    assert problems(edited(("epochs: 10", "epochs: {same_as: quantizer.kwargs.bitwidth}"), text=text)) == [
        "t.yaml:2: epochs: same_as: quantizer.kwargs.bitwidth is not there in every config that can be drawn, "
        "only under some choice"
    ]


def test_the_value_of_a_reference_obeys_the_constraint_of_its_own_place() -> None:
    text = edited(("epochs: 10", "epochs: {distribution: int, low: 3, high: 20}"),
                  ("max_bits: 8", "max_bits: {same_as: epochs}"))  # fmt: skip
    assert problems(text) == ["t.yaml:5: quantizer.kwargs.max_bits: is 20, must be less than or equal to 16"]


def test_what_could_not_be_read_is_reported_once() -> None:
    text = with_quantizer("{distribution: choice, choices: [null, null]}")
    text = edited(("epochs: 10", "epochs: {distribution: int}"), ("resnet20", "{same_as: epochs}"), text=text)
    assert problems(text) == [
        "t.yaml:2: epochs.high: is missing",
        "t.yaml:2: epochs.low: is missing",
        "t.yaml:3: quantizer: choices.1 (null) is the same as choices.0; leave one out",
    ]


SEARCHED = edited(
    ("weight_decay: 2.5", "weight_decay: {distribution: loguniform, low: 0.1, high: 50.0}"),
    ("lambda: 1.0", "lambda: {distribution: choice, choices: [0.0, 1.0]}"),
)


IMAGES = "accuracies on different images cannot be compared"
SAME = "it changes no result"


@pytest.mark.parametrize(
    ("key", "value", "shown", "reason"),
    [
        ("device", "{distribution: choice, choices: [cpu, mps]}", "a distribution (choice of cpu | mps)",
         "the sweep places all its trials alike"),
        ("device", "{same_as: save_dir}\nsave_dir: cpu", "a reference (same as save_dir)",
         "the sweep places all its trials alike"),
        ("device", "{same_as: seed}", "a reference (same as seed)", "the sweep places all its trials alike"),
        ("device", "{same_as: nowhere}", "a reference (same as nowhere)", "the sweep places all its trials alike"),
        ("threads", "{distribution: int, low: 1, high: 2}", "a distribution (int [1, 2])", SAME),
        ("workers", "{distribution: choice, choices: [0, 4]}", "a distribution (choice of 0 | 4)", SAME),
        ("use_compile", "{distribution: choice, choices: [0, auto]}", "a distribution (choice of 0 | auto)", SAME),
        ("wandb_project", "{distribution: choice, choices: [a, null]}", "a distribution (choice of a | null)",
         "a sweep is one group of runs in one project"),
        ("save_dir", "{distribution: choice, choices: [a, b]}", "a distribution (choice of a | b)",
         "only a single run writes there"),
        ("dataset", "{distribution: choice, choices: [digits, {name: synthetic}]}",
         "a distribution (choice of digits | name=synthetic)", IMAGES),
        ("data_dir", "{distribution: choice, choices: [a, b]}", "a distribution (choice of a | b)", IMAGES),
        ("val_fraction", "{distribution: uniform, low: 0.1, high: 0.2}", "a distribution (uniform [0.1, 0.2])", IMAGES),
    ],
)  # fmt: skip
def test_what_a_sweep_has_once_is_neither_a_distribution_nor_a_reference(
    key: str, value: str, shown: str, reason: str
) -> None:
    assert problems(f"{PLAIN}{key}: {value}\n") == [
        f"t.yaml:15: {key}: is {shown}, must be one value for the whole sweep: {reason}"
    ]


def test_the_name_of_a_data_set_is_one_too() -> None:
    name = "dataset: {name: {distribution: choice, choices: [digits, synthetic]}}"
    assert problems(f"{PLAIN}{name}\n") == [
        "t.yaml:15: dataset.name: is a distribution (choice of digits | synthetic), must be one value for the whole "
        f"sweep: {IMAGES}"
    ]


@pytest.mark.parametrize("key", ["batch_size", "seed"])
def test_other_keys_may_be_searched(key: str) -> None:
    assert problems(f"{edited(('epochs: 10', 'epochs: 9'))}{key}: {{distribution: int, low: 1, high: 2}}\n") == []


def test_a_gpu_by_its_number_is_refused_in_a_sweep_since_ray_numbers_them_for_each_trial() -> None:
    given = "CUDA_VISIBLE_DEVICES=1 gives this one to the whole sweep"
    assert problems(PLAIN, "device=cuda:1") == [
        f"--set: device: is 'cuda:1', must be cuda: a trial numbers the GPUs that it is given from 0; {given}"
    ]
    for device in ("cuda:abc", "cuda:0,1", "cuda:9999"):
        told = f"--set: device: is '{device}', must be auto, cpu, cuda, cuda:N or mps"
        assert problems(PLAIN, f"device={device}") == [told]
    assert problems(PLAIN, "device=cuda:0") == problems(PLAIN, "device=cuda:1", "sweep.resources.gpu=2") == []
    load(PLAIN)
    assert Template.load("t.yaml", ["device=cuda:1"], single_run=True).run_config().device == "cuda:1"


@pytest.mark.parametrize(
    ("enqueue", "reason"),
    [
        (f"{{{WEIGHT_DECAY}: 100.0}}", f"{WEIGHT_DECAY}: is 100.0, must be drawable from loguniform [0.1, 50]"),
        (f"{{{WEIGHT_DECAY}: big}}", f"{WEIGHT_DECAY}: is 'big', must be drawable from loguniform [0.1, 50]"),
        (f"{{{LASSO}: 2.0}}", f"{LASSO}: is 2.0, must be drawable from choice of 0.0 | 1.0"),
        ("{loss_terms.0.lambda: 1}", f"loss_terms.0.lambda: no value of this name is searched; did you mean {LASSO}?"),
        ("{patience: 3}", f"patience: no value of this name is searched; searched: {WEIGHT_DECAY}, {LASSO}"),
    ],
)
def test_an_enqueued_config_must_be_drawable(enqueue: str, reason: str) -> None:
    assert problems(f"{SEARCHED}sweep:\n  enqueue:\n  - {{{WEIGHT_DECAY}: 1, {LASSO}: 0}}\n  - {enqueue}\n") == [
        f"t.yaml:18: sweep.enqueue.1.{reason}"
    ]


def test_an_enqueued_config_that_equals_an_earlier_one_is_refused() -> None:
    entries = [
        f"{{{WEIGHT_DECAY}: 1, {LASSO}: 0}}",
        f"{{{WEIGHT_DECAY}: 1}}",  # leaves a value open, so two of these are two configs
        f"{{{WEIGHT_DECAY}: 1}}",
        f"{{{LASSO}: 0.0, {WEIGHT_DECAY}: 1.0}}",
    ]
    text = f"{SEARCHED}sweep:\n  enqueue:\n" + "".join(f"  - {entry}\n" for entry in entries)
    assert problems(text) == ["t.yaml:20: sweep.enqueue.3: is the same config as sweep.enqueue.0; leave one out"]


def test_enqueueing_where_nothing_is_searched_is_told() -> None:
    assert problems(f"{PLAIN}sweep: {{enqueue: [{{patience: 3}}]}}\n") == [
        "t.yaml:15: sweep.enqueue.0.patience: no value of this name is searched"
    ]


def test_an_enqueued_value_that_the_command_line_fixed_is_dropped() -> None:
    text = f"{SEARCHED}sweep:\n  enqueue:\n  - {{{WEIGHT_DECAY}: 1, {LASSO}: 0}}\n"
    template = load(text, f"{WEIGHT_DECAY}=2.5")
    assert template.sweep.enqueue == [{LASSO: 0}]


TIED = edited(("{lr: 0.001, weight_decay: {", f"{{lr: {{same_as: {LR}}}, weight_decay: {{"), text=SEARCHED)
CONDITIONAL = edited(
    ("kwargs: {max_bits: 8}", "kwargs: {distribution: choice, choices: [{max_bits: 4}, {max_bits: 6}]}"), text=SEARCHED
)


@pytest.mark.parametrize(
    ("text", "enqueued", "reason"),
    [
        (SEARCHED, "epochs: 12", "epochs: is 12, but it is not searched and always 10; leave it out, or search it"),
        (SEARCHED, "quantizer.exclude_layers: [fc]", 'quantizer.exclude_layers: is ["fc"], but it is not searched and '
         'always ["bn"]; leave it out, or search it'),
        (CONDITIONAL, "quantizer.kwargs.max_bits: 5", "quantizer.kwargs.max_bits: is 5, but it is not searched and "
         "always 4 or 6; leave it out, or search it"),
        (SEARCHED, "optimizer: {param_groups: {dz: {weight_decay: 1}}}", "optimizer: holds searched values; write "
         f"each by its own dotted path, such as {WEIGHT_DECAY}"),
        (TIED, "optimizer.param_groups.dz.lr: 0.001", "optimizer.param_groups.dz.lr: is always the value of "
         f"{LR}; leave it out"),
        (SEARCHED, "'': 3", f": no value of this name is searched; searched: {WEIGHT_DECAY}, {LASSO}"),
    ],
)  # fmt: skip
def test_an_enqueued_key_that_is_not_searched_must_have_the_value_that_it_has_anyway(
    text: str, enqueued: str, reason: str
) -> None:
    entry = f"{{{WEIGHT_DECAY}: 1, {enqueued}}}"
    assert problems(f"{text}sweep:\n  enqueue:\n  - {entry}\n") == [f"t.yaml:17: sweep.enqueue.0.{reason}"]


@pytest.mark.parametrize(
    ("text", "enqueued"),
    [(SEARCHED, "epochs: 10"), (SEARCHED, "quantizer.exclude_layers: [bn]"),
     (SEARCHED, "optimizer.param_groups.base: {lr: 0.001}"), (CONDITIONAL, "quantizer.kwargs.max_bits: 6")],
)  # fmt: skip
def test_an_enqueued_key_with_the_value_that_it_has_anyway_changes_nothing(text: str, enqueued: str) -> None:
    template = load(f"{text}sweep:\n  enqueue:\n  - {{{WEIGHT_DECAY}: 1, {enqueued}}}\n")
    assert template.sweep.enqueue == [{WEIGHT_DECAY: 1}]


def test_a_value_that_another_file_or_option_enqueues_is_refused_alike() -> None:
    (line,) = problems(SEARCHED, "epochs=9", "sweep.enqueue=[{epochs: 12}]")
    assert line.startswith("--set: sweep.enqueue.0.epochs: is 12, but it is not searched and always 9")
    load(SEARCHED, name="base.yaml")
    (line,) = problems("extends: base.yaml\nsweep: {enqueue: [{epochs: 12}]}\n")
    assert line.startswith("t.yaml:2: sweep.enqueue.0.epochs: is 12, but it is not searched and always 10")


def test_an_empty_enqueued_config_is_refused() -> None:
    text = f"{SEARCHED}sweep:\n  enqueue:\n  - {{{WEIGHT_DECAY}: 1}}\n  - {{}}\n  - null\n"
    assert problems(text) == [
        "t.yaml:18: sweep.enqueue.1: is {}, must hold 1 or more entries",
        "t.yaml:19: sweep.enqueue.2: is null, must be a mapping of keys to values",
    ]


def test_several_trials_of_one_config_are_told() -> None:
    assert problems(PLAIN, "sweep.trials=3") == [
        "--set: sweep.trials: is 3, but no value of the file is a distribution: there is one config to try"
    ]
    assert problems(PLAIN, "sweep.trials=1") == []


@pytest.mark.parametrize(
    ("epochs", "reason"),
    [
        ("{distribution: uniform, low: 0.1, high: 1}", "infinitely many"),
        ("{distribution: loguniform, low: 0.1, high: 1}", "infinitely many"),
        ("{distribution: int, low: 1, high: 1000000}", "1,000,000"),
        ("{distribution: uniform, low: 0.1, high: 0.9, step: 0.1}", None),
        ("{distribution: choice, choices: [0.1, 0.2]}", None),
    ],
)
def test_a_grid_needs_finite_ranges(epochs: str, reason: str | None) -> None:
    refused = f"has {reason} values, the grid sampler takes at most 1,000; give a step or list choices"
    lines = problems(edited(("lambda: 1.0", f"lambda: {epochs}")), "sweep.search.sampler=grid")
    assert lines == ([f"t.yaml:14: {LASSO}: {refused}"] if reason else [])


def test_problems_of_the_sweep_and_of_the_config_are_told_together() -> None:
    text = edited(("epochs: 10", "epochs: 0"), text=SEARCHED)
    assert problems(f"{text}sweep: {{enqueue: [{{epoch: 3}}]}}\n") == [
        "t.yaml:2: epochs: is 0, must be greater than or equal to 1",
        f"t.yaml:15: sweep.enqueue.0.epoch: no value of this name is searched; searched: {WEIGHT_DECAY}, {LASSO}",
    ]


def met(draw: SampledConfig, tree: Any) -> set[tuple[KeyPath, str]]:
    """(path of a distribution, end) for every end that a draw holds."""
    found = set()
    for path, origin in draw.origin.items():
        for length, step in enumerate(origin):
            if step == "choices":
                chosen = get_path(tree, origin[:length])
                found.add((origin[:length], repr(chosen.labels[int(origin[length + 1])])))
        if isinstance(get_path(tree, origin), Uniform | LogUniform | Int):
            found.add((origin, repr(get_path(draw.data, path))))
    return found


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_probes_meet_every_end_of_every_distribution(data: st.DataObject) -> None:
    leaf = st.sampled_from(["{distribution: int, low: 2, high: 8}", "{distribution: choice, choices: [4, 5, 6]}", "3"])
    nested = st.recursive(
        leaf,
        lambda inner: st.lists(inner, min_size=1, max_size=3, unique=True).map(
            lambda items: f"{{distribution: choice, choices: [{', '.join(items)}, 16]}}"
        ),
        max_leaves=6,
    )
    text = edited(("max_bits: 8", f"max_bits: {data.draw(nested)}, init_bit_logit: {data.draw(nested)}"))
    tree = load(text).tree
    wanted = {(path, repr(end)) for path, d in distributions(tree).items() for end in d.bounds().values()}
    assert set().union(*(met(draw, tree) for draw in boundary_configs(tree))) == wanted


def test_independent_distributions_share_their_probes() -> None:
    ranges = ", ".join(f"{{distribution: choice, choices: [a{i}, b{i}]}}" for i in range(100))
    tree = load(edited(("[bn]", f"[{ranges}]"))).tree
    assert len(list(boundary_configs(tree))) == 2


def test_mixtures_are_the_same_every_time() -> None:
    tree = load(SEARCHED).tree
    assert [draw.data for draw in corner_samples(tree)] == [draw.data for draw in corner_samples(tree)]
    assert len({str(draw.data) for draw in corner_samples(tree)}) == 4
    assert list(corner_samples(load(PLAIN).tree)) == []


@given(
    epochs=st.integers(1, 50), bits=st.integers(2, 16), logit=st.floats(-3, 3), decay=st.floats(0.1, 50),
    factor=st.sampled_from([0.0, 1.0]),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_every_draw_inside_checked_ranges_is_a_valid_config(
    epochs: int, bits: int, logit: float, decay: float, factor: float
) -> None:
    text = edited(
        ("epochs: 10", "epochs: {distribution: int, low: 1, high: 50}"),
        ("max_bits: 8", "max_bits: {distribution: int, low: 2, high: 16}, "
                        "init_bit_logit: {distribution: uniform, low: -3, high: 3}"),
        text=SEARCHED,
    )  # fmt: skip
    values = {"epochs": epochs, "quantizer.kwargs.max_bits": bits, "quantizer.kwargs.init_bit_logit": logit,
              WEIGHT_DECAY: decay, LASSO: factor}  # fmt: skip
    config = load(text).draw(lambda name, distribution: values[name])
    assert isinstance(config, RunConfig)
    assert (config.epochs, config.loss_terms[0].lambda_) == (epochs, factor)


def large_template() -> str:
    """Over 200 distributions in choices two deep, ten entries each."""
    bits, logit = "{{distribution: int, low: 2, high: {}}}", "{{distribution: uniform, low: {}, high: 30}}"
    kwargs = ", ".join(f"{{max_bits: {bits.format(j + 3)}, init_bit_logit: {logit.format(j)}}}" for j in range(10))
    entry = "{{name: deadzone, kwargs: {{distribution: choice, choices: [{}]}}, exclude_layers: [l{}]}}"
    choices = ", ".join(entry.format(kwargs, i) for i in range(10))
    return with_quantizer(f"{{distribution: choice, choices: [{choices}]}}")


def test_a_large_template_is_checked_well_under_a_second() -> None:
    text = large_template()
    load(PLAIN)
    started = time.process_time()
    template = load(text)
    assert time.process_time() - started < 1
    assert len(distributions(template.tree)) > 200


def test_a_large_template_full_of_problems_is_told_well_under_a_second() -> None:
    ranges = "\n".join(f"  - {{distribution: int, low: {i}, high: {i + 2}}}" for i in range(100))
    text = edited((QUANTIZER, f"quantizer:\n  name: deadzone\n  exclude_layers:\n{ranges}\n"))
    started = time.process_time()
    assert len(problems(text)) == MAX_PROBLEMS  # of 200
    assert time.process_time() - started < 1


def test_the_list_of_a_choices_values_is_no_space_in_another_tools_words() -> None:
    inner = "{distribution: choice, choices: [1, a]}"
    text = edited(("{lr: 0.001, weight_decay: 2.5}", f"{{distribution: choice, choices: [{inner}, {{}}]}}"))
    assert problems(text) == [
        "t.yaml:11: optimizer.param_groups.dz: is 'a', must be a mapping of keys to values",
        "t.yaml:11: optimizer.param_groups.dz: is 1, must be a mapping of keys to values; write {lr: 1}",
        "t.yaml:11: optimizer.param_groups.dz.lr: is missing",
    ]
