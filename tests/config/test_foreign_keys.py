"""Keys in the words of other tools, or in another section than ours: one line each, which says what we write."""

from __future__ import annotations

import shlex

import pytest

from codeq.config.foreign_keys import _OUR_KEYS, advice_for_key, nested
from codeq.config.run import RunConfig
from codeq.config.sweep import Confirm, Resources, Scheduler, Search, SweepConfig
from tests.config.texts import PLAIN, edited, problems

SEARCHED = edited(("lambda: 1.0", "lambda: {distribution: uniform, low: 0.0, high: 1.0}"))
WANDB = """\
program: train.py
project: pruning
method: bayes
metric: {name: val_acc, goal: maximize}
early_terminate: {type: hyperband, min_iter: 3}
run_cap: 30
parameters:
  lr: {min: 0.1, max: 1.0}
"""
HYDRA = """\
defaults: [_self_, {override hydra/sweeper: optuna}]
hydra: {sweeper: {n_trials: 20}}
lr: 0.1
"""
RAY_AND_OPTUNA = """\
param_space: {lr: tune.uniform(0, 1)}
num_samples: 20
scheduler: asha
direction: maximize
n_jobs: 4
resources_per_trial: {cpu: 1}
points_to_evaluate: []
"""
RANGES = "write each distribution in place of its key's value, like epochs: {distribution: int, low: 10, high: 50}"


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        (WANDB, [
            "program: unknown key; leave it out; the file's own model is trained",
            "project: unknown key; write wandb_project: ...",
            "method: unknown key; write sweep: {search: {sampler: tpe}}",
            "metric: unknown key; write sweep: {objectives: {val_acc: max}}",
            "early_terminate: unknown key; write sweep: {scheduler: {name: asha}}",
            "run_cap: unknown key; write sweep: {trials: ...}",
            f"parameters: unknown key; {RANGES}",
        ]),
        (HYDRA, [
            "defaults: unknown key; write extends: FILE",
            "hydra: unknown key; leave it out; trials, sampler and folder stand below sweep",
            "lr: unknown key; write optimizer: {param_groups: {base: {lr: ...}}}",
        ]),
        (RAY_AND_OPTUNA, [
            f"param_space: unknown key; {RANGES}",
            "num_samples: unknown key; write sweep: {trials: ...}",
            "scheduler: unknown key; write sweep: {scheduler: {name: asha}}",
            "direction: unknown key; write sweep: {objectives: {val_acc: max}}",
            "n_jobs: unknown key; write sweep: {max_concurrent: ...}",
            "resources_per_trial: unknown key; write sweep: {resources: ...}",
            "points_to_evaluate: unknown key; write sweep: {enqueue: ...}",
        ]),
    ],
)  # fmt: skip
def test_each_key_of_another_tools_file_is_one_line_that_says_ours(written: str, advice: list[str]) -> None:
    lines = [f"t.yaml:{number}: {line}" for number, line in enumerate(advice, 1)]
    assert problems(written + PLAIN) == lines


def test_they_are_recognized_below_sweep_too() -> None:
    assert problems(f"{PLAIN}sweep: {{method: bayes, search.seed: 3, description: x}}\n") == [
        "t.yaml:15: sweep.description: unknown key; write a comment",
        "t.yaml:15: sweep.method: unknown key; write sweep: {search: {sampler: tpe}}",
        "t.yaml:15: sweep.search.seed: unknown key; dotted keys are for --set; write sweep: {search: {seed: ...}}",
    ]


def test_a_dotted_key_is_to_be_nested() -> None:
    key = "optimizer.param_groups.base.lr"
    expected = "dotted keys are for --set; write optimizer: {param_groups: {base: {lr: ...}}}"
    assert problems(f"{PLAIN}{key}: 0.1\n") == [f"t.yaml:15: {key}: unknown key; {expected}"]


def test_a_learning_rate_beside_the_parameter_groups_is_told_where_it_belongs() -> None:
    assert problems(edited(("type: adamw", "type: adamw\n  learning_rate: 0.1"))) == [
        "t.yaml:9: optimizer.learning_rate: unknown key; write optimizer: {param_groups: {base: {lr: ...}}}"
    ]


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("lr=0.1", "optimizer.param_groups.base.lr=0.1"),
        ("dz.weight_decay=1", "optimizer.param_groups.dz.weight_decay=1"),
        ("param_groups.base.lr={distribution: uniform, low: 0.1, high: 1}",
         '"optimizer.param_groups.base.lr={distribution: uniform, low: 0.1, high: 1}"'),
        ("trials=3", "sweep.trials=3"),
        ("sweep.sampler=bayes", "sweep.search.sampler=tpe"),
        ("metric=accuracy", '"sweep.objectives={val_acc: max}"'),
    ],
)  # fmt: skip
def test_on_the_command_line_they_are_told_as_they_are_to_be_typed(override: str, written: str) -> None:
    (line,) = problems(SEARCHED, override)
    assert line.endswith(f": unknown key; write --set {written}") and line.startswith("--set: ")
    assert problems(SEARCHED, *shlex.split(line.partition("write --set ")[2])) == []


def test_an_optimizer_without_its_type_is_told_which_there_are() -> None:
    assert problems(edited(("type: adamw", "name: adamw"))) == [
        "t.yaml:7: optimizer.type: is missing; must be one of adamw, adam, sgd"
    ]


def test_hydras_interpolation_is_told_as_our_reference() -> None:
    assert problems(f"{PLAIN}seed: ${{epochs}}\n") == [
        "t.yaml:15: seed: is '${epochs}', must be a whole number; write {same_as: epochs}"
    ]


def test_every_key_of_the_sweep_is_recognized_outside_of_it() -> None:
    sections = {"search.": Search, "scheduler.": Scheduler, "resources.": Resources, "confirm.": Confirm}
    for prefix, section in {"": SweepConfig, **sections}.items():
        for name in section.model_fields:
            taken = name in RunConfig.model_fields or (prefix and name in SweepConfig.model_fields)
            if not taken:  # sweep.search.seed is the config's own seed at the top level
                ours = f"sweep.{prefix}{name}"
                assert advice_for_key((name,)) == (ours, f"write {nested(ours)}")


@pytest.mark.parametrize("ours", sorted({*_OUR_KEYS.values()}))
def test_what_is_to_be_written_is_a_key_of_ours(ours: str) -> None:
    texts = [PLAIN, edited(("type: adamw", "type: sgd"))]  # momentum is one of sgd's
    told = [[line for line in problems(text, f"{ours}=1") if "unknown key" in line] for text in texts]
    assert [] in told
