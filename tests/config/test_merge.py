"""`extends` and --set: what wins, and which file or option a problem is blamed on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.config.texts import LASSO, PLAIN, QUANTIZER, WEIGHT_DECAY, edited, load, problems, searched, with_quantizer

RANGE = "{distribution: loguniform, low: 0.1, high: 50.0}"


@pytest.fixture(autouse=True)
def base(folder: Path) -> None:
    Path("base.yaml").write_text(PLAIN)


def extended(text: str, *overrides: str) -> dict[str, Any]:
    """The tree of a file that extends the plain config."""
    return load(f"extends: base.yaml\n{text}", *overrides).tree


def test_a_file_starts_from_the_one_it_extends() -> None:
    tree = extended("epochs: 3\noptimizer:\n  param_groups:\n    base: {lr: 0.5}\n")
    assert (tree["model"], tree["epochs"]) == ("resnet20", 3)
    assert tree["optimizer"]["param_groups"]["base"] == {"lr": 0.5}
    assert tree["optimizer"]["param_groups"]["dz"] == {"lr": 0.001, "weight_decay": 2.5}
    assert "extends" not in tree


def test_extends_may_be_chained_through_folders() -> None:
    Path("sub").mkdir()
    Path("sub/middle.yaml").write_text("extends: ../base.yaml\nepochs: 3\nseed: 1\n")
    tree = load("extends: sub/middle.yaml\nseed: 2\n").tree
    assert (tree["model"], tree["epochs"], tree["seed"]) == ("resnet20", 3, 2)


def test_a_distribution_replaces_a_scalar_and_the_other_way_round() -> None:
    Path("range.yaml").write_text(f"extends: base.yaml\n{_nested(RANGE)}")
    assert searched(load("extends: range.yaml\n")) == {WEIGHT_DECAY: "loguniform [0.1, 50]"}
    assert searched(load(f"extends: range.yaml\n{_nested('1.5')}")) == {}
    assert searched(load(f"extends: range.yaml\n{_nested('{distribution: choice, choices: [1, 2]}')}")) == {
        WEIGHT_DECAY: "choice of 1 | 2"
    }


def _nested(weight_decay: str) -> str:
    return f"optimizer:\n  param_groups:\n    dz:\n      weight_decay: {weight_decay}\n"


def test_part_of_a_distribution_is_not_merged_into_it() -> None:
    Path("range.yaml").write_text("extends: base.yaml\nepochs: {distribution: int, low: 1, high: 3}\n")
    assert problems("extends: range.yaml\nepochs: {low: 2}\n") == [
        't.yaml:2: epochs: is {"low": 2}, must be a whole number; a range is {distribution: int, low: ..., high: ...}'
    ]


def test_a_reference_replaces_a_value_and_is_replaced() -> None:
    Path("tied.yaml").write_text("extends: base.yaml\nseed: {same_as: epochs}\n")
    assert load("extends: tied.yaml\n").run_config().seed == 10
    assert load("extends: tied.yaml\nseed: 3\n").run_config().seed == 3


def test_a_quantizer_of_another_name_replaces_the_whole_quantizer() -> None:
    tree = extended("quantizer: {name: uniform, kwargs: {bitwidth: 4}}\n")
    assert tree["quantizer"] == {"name": "uniform", "kwargs": {"bitwidth": 4}}


@pytest.mark.parametrize("name", ["", "name: deadzone, "])
def test_a_quantizer_of_the_same_name_is_merged(name: str) -> None:
    tree = extended(f"quantizer: {{{name}kwargs: {{learnable_bit: false}}}}\n")
    assert tree["quantizer"]["kwargs"] == {"max_bits": 8, "learnable_bit": False}
    assert tree["quantizer"]["exclude_layers"] == ["bn"]


TUNED_ADAM = ("base: {lr: 0.001}", "base: {lr: 0.001, betas: [0.8, 0.9], eps: 1e-6}")
SGD = "{type: sgd, param_groups: {base: {lr: 0.1, momentum: 0.9}}}"


def test_an_optimizer_of_another_type_replaces_the_whole_optimizer() -> None:
    Path("base.yaml").write_text(edited(TUNED_ADAM))
    tree = extended(f"optimizer: {SGD}\n")
    assert tree["optimizer"] == {"type": "sgd", "param_groups": {"base": {"lr": 0.1, "momentum": 0.9}}}


def test_an_optimizer_of_the_same_type_is_merged() -> None:
    Path("base.yaml").write_text(edited(TUNED_ADAM))
    groups = extended("optimizer: {type: adamw, param_groups: {base: {lr: 0.5}}}\n")["optimizer"]["param_groups"]
    assert groups["base"] == {"lr": 0.5, "betas": [0.8, 0.9], "eps": 1e-6}
    assert groups["dz"] == {"lr": 0.001, "weight_decay": 2.5}


def test_what_the_other_type_lacks_is_told_with_the_reason() -> None:
    gone = "another type replaces all of optimizer"
    assert problems("extends: base.yaml\noptimizer: {type: sgd}\n") == [
        f"t.yaml:2: optimizer.param_groups: is missing; {gone}"
    ]
    assert problems("extends: base.yaml\noptimizer:\n  type: sgd\n  param_groups:\n    base: {momentum: 0.9}\n") == [
        f"t.yaml:5: optimizer.param_groups.base.lr: is missing; {gone}"
    ]
    assert problems("extends: base.yaml\n", "optimizer.type=sgd") == [
        f"--set: optimizer.param_groups: is missing; {gone}"
    ]


def test_a_model_of_another_name_replaces_the_whole_model() -> None:
    Path("base.yaml").write_text(edited(("resnet20", "{name: mlp, kwargs: {hidden: [5]}}")))
    assert extended("model: {name: timm/x}\n")["model"] == {"name": "timm/x"}
    assert extended("", "model.name=timm/x")["model"] == {"name": "timm/x"}


def test_names_below_sweep_and_in_kwargs_replace_nothing_else() -> None:
    """Every key of the scheduler means the same for all of its names, and a kwarg may be called anything."""
    sweep = "sweep: {name: base, trials: 1, scheduler: {name: asha, grace_epochs: 3}}\n"
    Path("sweep.yaml").write_text(f"extends: base.yaml\n{sweep}")
    found = load("extends: sweep.yaml\nsweep: {name: mine, scheduler: {name: median}}\n").sweep
    assert (found.name, found.trials, found.scheduler.name, found.scheduler.grace_epochs) == ("mine", 1, "median", 3)
    assert load("extends: sweep.yaml\n", "sweep.scheduler.name=none").sweep.scheduler.grace_epochs == 3
    Path("timm.yaml").write_text(edited(("resnet20", "{name: timm/x, kwargs: {type: a, depth: 2}}")))
    tree = load("extends: timm.yaml\nmodel: {kwargs: {type: b}}\n").tree
    assert tree["model"]["kwargs"] == {"type": "b", "depth": 2}


@pytest.mark.parametrize("turned", [False, True])
def test_set_of_another_kind_keeps_only_what_was_set_too(turned: bool) -> None:
    Path("base.yaml").write_text(edited(TUNED_ADAM))
    optimizer = ["optimizer.type=sgd", "optimizer.param_groups.base.lr=0.1"]
    quantizer = ["quantizer.name=uniform", "quantizer.kwargs.bitwidth=4"]
    overrides = [*optimizer, *quantizer]
    tree = extended("", *(reversed(overrides) if turned else overrides))
    assert tree["optimizer"] == {"type": "sgd", "param_groups": {"base": {"lr": 0.1}}}
    assert tree["quantizer"] == {"name": "uniform", "kwargs": {"bitwidth": 4}}


def test_set_of_the_same_kind_changes_nothing() -> None:
    assert extended("", "optimizer.type=adamw", "quantizer.name=deadzone") == extended("")


def test_set_of_another_kind_reaches_an_item_of_a_choice() -> None:
    text = with_quantizer("{distribution: choice, choices: [null, {name: deadzone, kwargs: {max_bits: 8}}]}")
    assert load(text, "quantizer.choices.1.name=uniform").tree["quantizer"].choices == [None, {"name": "uniform"}]


def test_null_takes_a_section_away() -> None:
    assert extended("quantizer: null\n")["quantizer"] is None


def test_lists_are_replaced_as_a_whole() -> None:
    tree = extended("loss_terms: []\nquantizer: {exclude_layers: [fc, conv1]}\n")
    assert tree["loss_terms"] == []
    assert tree["quantizer"]["exclude_layers"] == ["fc", "conv1"]


def test_objectives_and_constraints_are_replaced_as_a_whole() -> None:
    sweep = "sweep: {trials: 1, objectives: {val_acc: max}, constraints: {val_acc: '>= 9'}}"
    Path("sweep.yaml").write_text(f"extends: base.yaml\n{sweep}\n")
    template = load("extends: sweep.yaml\nsweep: {objectives: {rel_bops: min}, constraints: {}}\n")
    assert (template.sweep.objectives, template.sweep.constraints) == ({"rel_bops": "min"}, {})


def test_a_problem_is_blamed_on_the_file_that_wrote_the_value() -> None:
    Path("bad.yaml").write_text(edited(("epochs: 10", "epochs: 0"), ("max_bits", "max_bit")))
    assert problems("extends: bad.yaml\n# nothing\nbatch_size: 0\n", "seed=-1") == [
        "--set: seed: is -1, must be greater than or equal to 0",
        "bad.yaml:2: epochs: is 0, must be greater than or equal to 1",
        "bad.yaml:5: quantizer.kwargs.max_bit: unknown key; did you mean max_bits?",
        "t.yaml:3: batch_size: is 0, must be greater than or equal to 1",
    ]
    assert problems("extends: bad.yaml\nepochs: 3\nquantizer: null\n") == []


@pytest.mark.parametrize(
    ("extends", "reason"),
    [
        ("t.yaml", "t.yaml leads back to a file that extends it"),
        ("nothing.yaml", "no such file: nothing.yaml"),
        ("sub", "no such file: sub"),
        ("[base.yaml]", 'is ["base.yaml"], must be the name of a YAML file'),
        ("null", "is null, must be the name of a YAML file"),
        ("''", "is '', must be the name of a YAML file"),
        ('"a\\0b"', "no such file: a\\x00b"),
        ("x" * 5000, "no such file: xxx"),
        ("{same_as: model}", 'is {"same_as": "model"}, must be the name of a YAML file'),
    ],
)
def test_a_file_that_cannot_be_extended_is_told_at_its_line(extends: str, reason: str) -> None:
    Path("sub").mkdir()
    (line,) = problems(f"{PLAIN}extends: {extends}\n")
    assert line.startswith(f"t.yaml:15: extends: {reason}")


def test_duplicate_keys_of_an_extended_file_are_told_there() -> None:
    Path("bad.yaml").write_text(edited(("epochs: 10", "epochs: 10\nepochs: 5")))
    assert problems("extends: bad.yaml\nseed: 1\nseed: 2\n") == [
        "bad.yaml:3: epochs: duplicate key, first written in line 2",
        "t.yaml:3: seed: duplicate key, first written in line 2",
    ]


def test_a_circle_of_files_is_told_once() -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        Path(f"{name}.yaml").write_text(f"extends: {other}.yaml\n")
    assert problems("extends: a.yaml\n") == ["c.yaml:1: extends: a.yaml leads back to a file that extends it"]


def test_a_circle_through_links_ends() -> None:
    os.symlink(".", "sub")
    assert problems("extends: sub/t.yaml\n")[0].endswith("chain of more than 16 files")


def test_a_syntax_error_in_an_extended_file_is_told_there() -> None:
    Path("bad.yaml").write_text("a: 1\nb: [\n")
    assert problems("extends: bad.yaml\n")[0].startswith("bad.yaml:3: is not valid YAML")


def value(key: str, override: str, text: str = PLAIN) -> Any:
    """What `override` puts at a top-level key."""
    return load(text, override).tree[key]


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("epochs=3", "epochs", 3),
        (" epochs = 3", "epochs", 3),
        ("data_dir=a=b:c", "data_dir", "a=b:c"),
        ("wandb_project=team/x", "wandb_project", "team/x"),
        ('data_dir="a: b"', "data_dir", "a: b"),
        ("data_dir=@x", "data_dir", "@x"),
        ("data_dir=%x%", "data_dir", "%x%"),
        ("data_dir=~/x", "data_dir", os.path.expanduser("~/x")),
        ("quantizer=null", "quantizer", None),
        ("quantizer={name: uniform}", "quantizer", {"name": "uniform"}),
        ("loss_terms=[]", "loss_terms", []),
        ("loss_terms.group_lasso.lambda=0.5", "loss_terms", [{"name": "group_lasso", "lambda": 0.5}]),
        ("loss_terms.0.lambda=1e-3", "loss_terms", [{"name": "group_lasso", "lambda": 0.001}]),
        ("loss_terms.group_lasso={name: group_lasso}", "loss_terms", [{"name": "group_lasso"}]),
    ],
)
def test_set_reads_its_value_as_yaml(override: str, key: str, expected: Any) -> None:
    assert value(key, override) == expected


def test_set_takes_distributions_lists_and_sweep_keys() -> None:
    template = load(
        PLAIN, f"{WEIGHT_DECAY}={RANGE}", "quantizer.exclude_layers=[a, b]", "sweep.trials=7",
        "sweep.search.sampler=random", "sweep.constraints.val_acc=>= 90", "sweep.time_budget=90s",
    )  # fmt: skip
    assert searched(template) == {WEIGHT_DECAY: "loguniform [0.1, 50]"}
    assert template.tree["quantizer"]["exclude_layers"] == ["a", "b"]
    assert (template.sweep.trials, template.sweep.search.sampler) == (7, "random")
    assert (template.sweep.constraints, template.sweep.time_budget) == ({"val_acc": ">= 90"}, "90s")


def test_set_reaches_one_end_of_a_range_and_one_item_of_a_choice() -> None:
    text = edited(("weight_decay: 2.5", f"weight_decay: {RANGE}"))
    assert searched(load(text, f"{WEIGHT_DECAY}.low=1")) == {WEIGHT_DECAY: "loguniform [1, 50]"}
    text = with_quantizer("{distribution: choice, choices: [null, {name: deadzone}]}")
    template = load(text, "quantizer.choices.1.kwargs.max_bits=3")
    assert template.tree["quantizer"].choices[1] == {"name": "deadzone", "kwargs": {"max_bits": 3}}


@pytest.mark.parametrize("text", [edited((QUANTIZER, "")), with_quantizer("null")])
def test_set_creates_the_sections_that_are_missing(text: str) -> None:
    tree = load(text, "quantizer.name=uniform", "quantizer.kwargs.bitwidth=4").tree
    assert tree["quantizer"] == {"name": "uniform", "kwargs": {"bitwidth": 4}}


def test_the_last_of_several_sets_wins() -> None:
    assert load(PLAIN, "epochs=0", "epochs=5").tree["epochs"] == 5


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("epochs", "epochs: must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01"),
        ("=3", "=3: must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01"),
        (".epochs=3", ".epochs=3: must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01"),
        ("", "must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01"),
        ("sweep.trials=", "sweep.trials: has no value; write null for none"),
        ("quantizer= ", "quantizer: has no value; write null for none"),
        ("epochs=[1", "epochs: is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("epochs=*a", "epochs: aliases are not read; repeat the value (templates: {same_as: other.key})"),
        ("epochs={a: 1, a: 2}", "epochs: duplicate key, first written in line 1"),
        ("data_dir=\0", "data_dir: holds the character '\\x00', must be plain text"),
        ("epoch=3", "epoch: unknown key; did you mean epochs?"),
        ("swep.trials=3", "swep: unknown key; did you mean sweep?"),
        ("quantizer.kwarg.max_bits=3", "quantizer.kwarg: unknown key; did you mean kwargs?"),
        ("sweep.trial=3", "sweep.trial: unknown key; did you mean trials?"),
        ("extends=base.yaml", "extends: cannot be set; write extends: FILE in a file of its own"),
        ("epochs.x=3", "epochs.x: no such key: epochs is 10 and holds no keys"),
        ("loss_terms.group_laso.lambda=3",
         "loss_terms.group_laso.lambda: no such key: loss_terms holds group_lasso; did you mean group_lasso?"),
        ("loss_terms.1.lambda=3", "loss_terms.1.lambda: no such key: loss_terms holds group_lasso"),
        ("loss_terms.-1.lambda=3", "loss_terms.-1.lambda: no such key: loss_terms holds group_lasso"),
        ("loss_terms.².lambda=3", "loss_terms.².lambda: no such key: loss_terms holds group_lasso"),
        ("quantizer.exclude_layers.0.x=1",
         "quantizer.exclude_layers.0.x: no such key: quantizer.exclude_layers.0 is 'bn' and holds no keys"),
        ("epochs=1e3", "epochs: is 1000.0, must be a whole number; write 1000"),
        ("sweep.name=../x",
         "sweep.name: is '../x', must be at most 64 letters, digits, '.', '_' and '-', the first a letter or digit"),
    ],
)  # fmt: skip
def test_a_bad_set_is_told_in_one_line(override: str, line: str) -> None:
    assert problems(PLAIN, override) == [f"--set: {line}"]


def test_set_through_a_choice_or_an_empty_item_is_told() -> None:
    text = with_quantizer("{distribution: choice, choices: [null, {name: deadzone}]}")
    assert problems(text, "quantizer.kwargs.max_bits=3") == [
        "--set: quantizer.kwargs.max_bits: no such key: quantizer is a choice; set it as a whole, "
        "or quantizer.choices.0 ..."
    ]
    text = edited(("[bn]", "[null]"))
    assert problems(text, "quantizer.exclude_layers.0.x=1") == [
        '--set: quantizer.exclude_layers.0: is {"x": 1}, must be text'
    ]


def test_bad_sets_and_a_bad_file_are_told_together() -> None:
    assert problems(edited(("epochs: 10", "epochs: 0")), "nonsense", "seed=-1", f"{LASSO}=-2") == [
        "--set: loss_terms.group_lasso.lambda: is -2, must be greater than or equal to 0",
        "--set: nonsense: must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01",
        "--set: seed: is -1, must be greater than or equal to 0",
        "t.yaml:2: epochs: is 0, must be greater than or equal to 1",
    ]


def test_the_problems_of_a_file_are_told_with_those_of_the_file_that_it_extends() -> None:
    Path("base.yaml").write_text("model: [\n")
    assert problems("extends: base.yaml\nepochs: 1\nepochs: 2\n") == [
        "base.yaml:2: is not valid YAML: expected the node content, but found '<stream end>'",
        "t.yaml:3: epochs: duplicate key, first written in line 2",
    ]
    assert problems("extends: nothing.yaml\nepochs: 1\nepochs: 2\n") == [
        "t.yaml:1: extends: no such file: nothing.yaml",
        "t.yaml:3: epochs: duplicate key, first written in line 2",
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("sweep.name=42", """sweep.name: is 42, must be text; write --set "sweep.name='42'\""""),
        ("sweep.name= 1.10", """sweep.name: is 1.1, must be text; write --set "sweep.name='1.10'\""""),
        ("save_dir=true", """save_dir: is true, must be text; write --set "save_dir='true'\""""),
        ("sweep={name: 42}", """sweep.name: is 42, must be text; write --set "sweep.name='42'\""""),
        ("quantizer.exclude_layers=[bn, 3]", "quantizer.exclude_layers.1: is 3, must be text; write --set "
         """"quantizer.exclude_layers=[bn, '3']\""""),
        ("quantizer.exclude_layers=[$a, 3]", "quantizer.exclude_layers.1: is 3, must be text; write --set "
         """'quantizer.exclude_layers=[$a, '"'"'3'"'"']'"""),
        ("quantizer.exclude_layers.0=3", "quantizer.exclude_layers.0: is 3, must be text; write --set "
         """"quantizer.exclude_layers.0='3'\""""),
    ],
)  # fmt: skip
def test_a_number_that_is_to_be_text_is_told_as_it_is_to_be_typed(override: str, problem: str) -> None:
    (line,) = problems(PLAIN, override)
    assert line == f"--set: {problem}"
    option, typed = shlex.split(line.partition("; write ")[2])
    assert option == "--set" and problems(PLAIN, typed) == []


def test_a_number_of_a_file_that_is_to_be_text_is_to_be_put_in_quotes_there() -> None:
    line = "t.yaml:15: save_dir: is 42, must be text; put it in quotes"
    assert problems(f"{PLAIN}save_dir: 42\n", "epochs=3") == [line]


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("optimizer/param_groups/base/lr=3", "optimizer.param_groups.base.lr=3"),
        ("loss_terms[0].lambda=3", "loss_terms.0.lambda=3"),
        ("loss_terms[group_lasso].lambda=3", "loss_terms.group_lasso.lambda=3"),
        ("+epochs=3", "epochs=3"),
        ("--epochs=3", "epochs=3"),
    ],
)
def test_a_key_in_the_form_of_hydra_or_json_is_told_with_dots(override: str, written: str) -> None:
    key = override.partition("=")[0]
    assert problems(PLAIN, override) == [f"--set: {key}: is no dotted key; write {written}"]
    assert problems(PLAIN, written) == []
