"""What `--dry-run` prints."""

from __future__ import annotations

import pytest

from codeq.config.dry_run import plan
from tests.config.texts import PLAIN, edited, load

SEARCHED = edited(("{lr: 0.001}", "{lr: {distribution: loguniform, low: 1e-4, high: 1e-2}}"))


def test_the_plan_names_everything_that_is_decided_before_the_first_trial() -> None:
    text = edited(("{lr: 0.001, weight_decay: 2.5}", """
      distribution: choice
      choices:
        - {lr: 0.1}
        - {lr: 0.1, weight_decay: {distribution: uniform, low: 0, high: 5}}"""), text=SEARCHED)  # fmt: skip
    template = load(text + """sweep:
  name: whole
  trials: 9
  objectives: {val_acc: max, rel_bops: min}
  constraints: {val_acc: ">= 90"}
  scheduler: {grace_epochs: 2}
  search: {sampler: nsga2, startup_trials: 4}
  time_budget: 2h
  enqueue: [{optimizer.param_groups.base.lr: 0.001}]
""")  # fmt: skip
    assert plan(template).splitlines() == [
        "whole: 9 trials of at most 10 epochs",
        "  objectives: val_acc max, rel_bops min",
        "  constraints: val_acc >= 90",
        "  sampler: nsga2, generations of 4 trials; 1 enqueued config first",
        "  optimizer.param_groups.base.lr: loguniform [0.0001, 0.01]",
        "  optimizer.param_groups.dz: choice of - | weight_decay=uniform [0, 5]",
        "  optimizer.param_groups.dz.weight_decay: uniform [0, 5] (conditional)",
        "  early stopping: asha, one trial in 3 continues: of 9 about 5 after epoch 2, 3 after epoch 6",
        "  trial-epochs: 90 at most, about 49 expected (38 to 70), more as the sampler learns",
        "  time budget: 2h",
    ]  # fmt: skip


def test_a_plan_without_a_search_says_only_what_there_is() -> None:
    assert plan(load(PLAIN)).splitlines() == [
        "t: 1 trial of at most 10 epochs", "  objectives: val_acc max, sparsity max", "  trial-epochs: 10",
    ]  # fmt: skip


def test_the_median_rule_is_not_forecast() -> None:
    lines = plan(load(f"{SEARCHED}sweep: {{trials: 9, scheduler: {{name: median, grace_epochs: 2}}}}\n")).splitlines()
    assert lines[-2:] == [
        "  early stopping: median, after any epoch from 2 on",
        "  trial-epochs: 90 at most; how many are saved depends on the curves",
    ]


def test_a_rule_that_comes_too_late_to_stop_anybody_is_named_as_such() -> None:
    lines = plan(load(f"{SEARCHED}sweep: {{trials: 9, scheduler: {{grace_epochs: 10}}}}\n")).splitlines()
    assert lines[-2:] == ["  early stopping: none: asha stops no trial before epoch 10", "  trial-epochs: 90"]


def test_grid_and_random_have_no_start_up_trials() -> None:
    searched = edited(("{lr: 0.001}", "{lr: {distribution: choice, choices: [0.1, 0.2]}}"))
    for sampler in ("grid", "random"):
        text = plan(load(f"{searched}sweep: {{search: {{sampler: {sampler}}}}}\n"))
        assert f"  sampler: {sampler}\n" in text and "learns" not in text


def test_a_space_with_fewer_configs_than_trials_is_named_as_such() -> None:
    text = edited(("{lr: 0.001}", "{lr: {distribution: choice, choices: [1e-4, 1e-3, 1e-2]}}"))
    lines = plan(load(f"{text}sweep: {{name: few, trials: 12}}\n")).splitlines()
    assert lines[0] == "few: 3 trials of at most 10 epochs, all configs that can be drawn (12 were asked for)"
    for trials in ("3", "null"):
        lines = plan(load(f"{text}sweep: {{name: few, trials: {trials}}}\n")).splitlines()
        assert lines[0] == "few: 3 trials of at most 10 epochs, all configs that can be drawn"


@pytest.mark.parametrize(
    ("trials", "search", "learns"),
    [
        (10, "{}", False), (11, "{}", True), (6, "{startup_trials: 5}", True), (11, "{sampler: random}", False),
        (6, "{warm_start: results/other}", True),
    ],
)  # fmt: skip
def test_only_a_sampler_that_has_time_to_learn_is_said_to_learn(trials: int, search: str, learns: bool) -> None:
    sweep = f"sweep: {{trials: {trials}, scheduler: {{grace_epochs: 2}}, search: {search}}}\n"
    assert ("as the sampler learns" in plan(load(f"{SEARCHED}{sweep}"))) == learns
