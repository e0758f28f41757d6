"""What is said of a sweep without a healthy trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import Template
from codeq.results.advice import write_advice
from codeq.results.advice.total_failure import total_failure
from codeq.results.trials import TrialResult
from tests.results.advice.conftest import DECAY, LR

Make = Callable[..., TrialResult]
LAMBDA = "loss_terms.group_lasso.lambda"
HEAD = "What they have in common, the likeliest cause first:"
LAST = "Other ranges are another sweep: --name NAME."


def ended(trial: TrialResult, reason: str) -> TrialResult:
    object.__setattr__(trial.record, "reason", reason)
    return trial


def said(template: Template, trials: list[TrialResult], folder: Path) -> list[str]:
    text = write_advice(UPath(folder), template, trials, [])
    assert (folder / "advice.txt").read_text() == text
    return text.splitlines()


def test_networks_that_were_pruned_away_name_the_decays_first(
    template: Template, make_trial: Make, tmp_path: Path
) -> None:
    values = [(2.0, 2e-3), (8.0, 1e-2), (9.5, 5e-3)]
    trials = [make_trial(i, {DECAY: d, LR: lr}, "collapsed", sparsity=1.0) for i, (d, lr) in enumerate(values)]
    for trial in trials:
        ended(trial, "every weight of fc1 is zero")
    assert said(template, trials, tmp_path) == [
        "All 3 trials collapsed, most often: every weight of fc1 is zero (trial 0000).",
        HEAD,
        f"  {DECAY} was drawn in 2 to 9.5 of uniform [0, 10]: lower its low.",
        f"  {LAMBDA} is 0.001: lower it.",
        f"  {LR} was drawn in 0.002 to 0.01 of loguniform [0.0001, 0.01]: lower its high to less than 0.002.",
        "  optimizer.param_groups.dz.lr is 0.005: lower it.",
        LAST,
    ]


def test_networks_that_diverged_name_the_learning_rates_first_and_no_decay(
    template: Template, make_trial: Make, tmp_path: Path
) -> None:
    trials = [ended(make_trial(i, {LR: 2e-4 * (i + 1)}, "diverged", epochs=0), "loss is nan") for i in range(2)]
    assert said(template, trials, tmp_path) == [
        "All 2 trials diverged, most often: loss is nan (trial 0000).",
        HEAD,
        f"  {LR} was drawn in 0.0002 to 0.0004 of loguniform [0.0001, 0.01]: lower its low.",
        "  optimizer.param_groups.dz.lr is 0.005: lower it.",
        f"  {LAMBDA} is 0.001: lower it.",
        LAST,
    ]


def test_dense_networks_at_chance_may_have_learned_too_slowly(
    template: Template, make_trial: Make, tmp_path: Path
) -> None:
    trials = [ended(make_trial(i, {LR: 1e-4}, "collapsed", sparsity=0.1), "at chance") for i in range(2)]
    lines = said(template, trials, tmp_path)
    where = "was drawn in 0.0001 to 0.0001 of loguniform [0.0001, 0.01]"
    assert lines[2] == f"  {LR} {where}: try lower and higher values, or more epochs."
    assert not any("weight_decay" in line for line in lines)


def test_a_range_that_some_trials_do_not_have_and_a_decay_of_zero_are_no_suspects(
    template: Template, make_trial: Make
) -> None:
    trials = [make_trial(i, {DECAY: float(i)}, "collapsed", sparsity=1.0) for i in range(3)]
    del trials[1].record.parameters[LR]
    found = total_failure(trials, template)
    assert found is not None
    assert [suspect.parameter for suspect in found.suspects] == [LAMBDA, "optimizer.param_groups.dz.lr"]


def test_several_kinds_of_failures_are_counted_and_crashes_say_nothing_of_the_ranges(
    template: Template, make_trial: Make
) -> None:
    crashed = [ended(make_trial(i, status="failed", epochs=0), "OSError: gone") for i in range(2)]
    found = total_failure(crashed, template)
    assert found is not None
    assert (dict(found.statuses), found.reason, found.suspects) == ({"failed": 2}, "OSError: gone", [])
    found = total_failure([*crashed, make_trial(2, {DECAY: 9.0}, "collapsed", sparsity=1.0)], template)
    assert found is not None
    assert (dict(found.statuses), found.suspects[0].parameter) == ({"failed": 2, "collapsed": 1}, DECAY)


@pytest.mark.parametrize("status", ["finished", "stopped", "running"])
def test_one_trial_that_did_not_fail_makes_it_no_total_failure(
    template: Template, make_trial: Make, status: Any
) -> None:
    assert total_failure([make_trial(0, status="collapsed"), make_trial(1, status=status)], template) is None
    assert total_failure([], template) is None


def test_a_config_without_ranges_is_told_of_its_values_too(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], make_trial: Make, tmp_path: Path
) -> None:
    plain = Template.load(write_yaml(tiny, "plain.yaml"))
    trial = ended(make_trial(0, status="collapsed", sparsity=1.0), "every weight of fc1 is zero")
    assert said(plain, [trial], tmp_path)[:3] == [
        "The only trial collapsed: every weight of fc1 is zero (trial 0000).",
        HEAD,
        f"  {DECAY} is 5: lower it.",
    ]


def test_fixed_values_that_nothing_reads_are_no_suspects(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], make_trial: Make
) -> None:
    groups = tiny["optimizer"]["param_groups"]
    groups["bit"] = {"lr": 0.1}  # the bit-width is not learned
    fixed = [f"optimizer.param_groups.{group}.lr" for group in ("base", "dz")]
    diverged = [make_trial(0, status="diverged", epochs=0)]
    found = total_failure(diverged, Template.load(write_yaml(tiny)))
    assert found is not None
    assert [suspect.parameter for suspect in found.suspects] == [*fixed, LAMBDA]
    tiny["quantizer"] = {"name": "uniform"}
    tiny["loss_terms"][0]["kwargs"] = {"lambda_linear": 0.0, "lambda_conv": 0.0}
    found = total_failure(diverged, Template.load(write_yaml(tiny)))
    assert found is not None
    assert [suspect.parameter for suspect in found.suspects] == fixed[:1]
