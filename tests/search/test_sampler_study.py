"""What the sampler knows: nothing proposed twice, what it is told before counts, an end where nothing is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from codeq.config import ConfigError, RunConfig, Template
from codeq.config.boundary_check import MAX_GRID
from codeq.search import sampler_study as module
from codeq.search.outcome import StudyReport, for_sampler, trial_end
from codeq.search.sampler_study import Exhausted, SamplerStudy
from tests.search.conftest import row
from tests.search.test_samplers import SAMPLERS

LR = "optimizer.param_groups.base.lr"
DECAY = "optimizer.param_groups.dz.weight_decay"
Load = Callable[..., Template]


@pytest.fixture
def load(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Load:
    """Loads a template that searches what it is given by group: base learning rate and dead-zone weight decay."""
    def load(lr: Any, weight_decay: Any, **sweep: Any) -> Template:
        groups = tiny["optimizer"]["param_groups"]
        groups["base"]["lr"], groups["dz"]["weight_decay"] = lr, weight_decay
        return Template.load(write_yaml({**tiny, "sweep": sweep}))

    return load


def choice(*choices: float) -> dict[str, Any]:
    return {"distribution": "choice", "choices": list(choices)}


def loguniform(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "loguniform", "low": low, "high": high}


def propose_all(study: SamplerStudy) -> list[dict[str, Any]]:
    found = []
    with pytest.raises(Exhausted):
        while True:
            proposal = study.propose()
            found.append(proposal.trial.params)
            study.tell(proposal.trial, StudyReport(TrialState.COMPLETE, [float(len(found)), 0.0]))
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_config_of_a_small_space_is_proposed_once_and_then_the_search_ends(load: Load, sampler: str) -> None:
    template = load(choice(0.1, 0.2, 0.3), choice(1.0, 2.0), search={"sampler": sampler, "startup_trials": 3})
    found = propose_all(SamplerStudy(template))
    assert len(found) == len({tuple(params.values()) for params in found}) == 6


def test_why_the_search_ends_is_said(load: Load) -> None:
    study = SamplerStudy(load(choice(0.1, 0.2), choice(1.0, 2.0)))
    propose_all(study)
    with pytest.raises(Exhausted, match="all 4 configs that can be drawn have been tried"):
        study.propose()


def test_trials_that_run_are_not_proposed_again(load: Load) -> None:
    study = SamplerStudy(load(choice(0.1, 0.2), choice(1.0, 2.0), search={"sampler": "random"}))
    assert len({tuple(study.propose().trial.params.values()) for _ in range(4)}) == 4


def test_multiples_of_a_step_are_the_same_whoever_has_rounded_them(load: Load) -> None:
    steps = {"distribution": "uniform", "low": 0.1, "high": 0.9, "step": 0.1}
    study = SamplerStudy(load(steps, choice(1.0)))
    study.add_trial({LR: 0.7, DECAY: 1.0}, StudyReport(TrialState.FAIL))
    study.enqueue({LR: 0.1 + 6 * 0.1})
    assert study.propose().trial.params[LR] != pytest.approx(0.7)


def test_a_config_in_the_queue_that_was_tried_already_is_passed_over_and_said(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """Two entries that are equal but for a value that nothing searches."""
    queue = [{LR: 0.1, DECAY: 1.0, "epochs": 4}, {LR: 0.1, DECAY: 1.0}, {LR: 0.2, DECAY: 1.0}]
    template = load(loguniform(1e-4, 1.0), choice(1.0, 2.0), enqueue=queue)
    study = SamplerStudy(template)
    for values in template.sweep.enqueue:
        study.enqueue(values)
    assert [study.propose().trial.params[LR] for _ in range(2)] == [0.1, 0.2]
    line = template.source.read_text().splitlines().index("    epochs: 4") + 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{template.source}:{line}: sweep.enqueue.1: was tried already and is not tried again"
    ]


def test_a_config_whose_values_do_not_fit_together_is_drawn_again(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    template = load(choice(0.1, 0.2), choice(1.0, 2.0))
    draw = template.draw

    def draw_only_small(suggest: Any) -> RunConfig:
        config = draw(suggest)
        if config.optimizer.param_groups.base.lr > 0.15:
            raise ConfigError([])
        return config

    monkeypatch.setattr(template, "draw", draw_only_small)
    study = SamplerStudy(template)
    assert {params[DECAY] for params in propose_all(study)} == {1.0, 2.0}
    assert "cannot be trained" in caplog.text


@pytest.mark.parametrize("trials_before", [0, 7])
def test_where_the_sampler_repeats_itself_what_is_drawn_instead_is_new(load: Load, trials_before: int) -> None:
    many = {"distribution": "int", "low": 1, "high": MAX_GRID + 200}
    study = SamplerStudy(load(many, 1.0, search={"sampler": "random"}), trials_before)
    found = {study.propose().trial.params[LR] for _ in range(MAX_GRID)}
    assert len(found) == MAX_GRID


def test_a_space_without_a_valid_config_is_exhausted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DRAWS", 3)
    template = load(loguniform(1e-4, 1.0), choice(1.0, 2.0))

    def invalid(suggest: Any) -> RunConfig:
        raise ConfigError([])

    monkeypatch.setattr(template, "draw", invalid)
    with pytest.raises(Exhausted, match="of 3 draws none"):
        SamplerStudy(template).propose()


LEARNERS = ["tpe", "nsga2", "gp"]


def two_scales(load: Load, sampler: str) -> Template:
    search = {"sampler": sampler, "startup_trials": 10}
    return load(loguniform(1e-4, 1.0), loguniform(1e-4, 1.0), search=search, objectives={"loss": "min"})


def orders(parameters: dict[str, Any]) -> float:
    """The powers of ten of both parameters, summed: from -8 to 0, -4 on average where nobody has learned."""
    return math.log10(parameters[LR] * parameters[DECAY])


@pytest.mark.parametrize("sampler", LEARNERS)
def test_what_is_remembered_moves_the_very_first_draws(load: Load, sampler: str) -> None:
    template = two_scales(load, sampler)

    def first_draws(known: int) -> float:
        study = SamplerStudy(template)
        for index in range(known):
            small, any_order = 10.0 ** (-4 * index / known), 10.0 ** (-4 * (index * 7 % known) / known)
            parameters = {LR: small, DECAY: any_order}
            study.add_trial(parameters, StudyReport(TrialState.COMPLETE, [orders(parameters)]))
        return sum(orders(study.propose().trial.params) for _ in range(10)) / 10

    assert first_draws(24) < first_draws(0) - 0.5


@pytest.mark.parametrize("sampler", LEARNERS)
def test_constraints_move_the_draws(load: Load, sampler: str) -> None:
    """The objective is best at -6, the constraint is met from -4 on."""
    template = two_scales(load, sampler)

    def later_draws(constrained: bool) -> float:
        study, drawn = SamplerStudy(template), []
        for _ in range(16 if sampler == "gp" else 30):  # gp takes its time
            proposal = study.propose()
            drawn.append(orders(proposal.trial.params))
            constraints = {"val_acc": -4 - drawn[-1]} if constrained else {}
            study.tell(proposal.trial, StudyReport(TrialState.COMPLETE, [(drawn[-1] + 6) ** 2], constraints))
        return sum(drawn[10:]) / len(drawn[10:])

    assert later_draws(True) > later_draws(False) + 0.5


def test_what_collapsed_is_no_better_than_what_misses_the_constraints(load: Load) -> None:
    """Nothing is feasible. From -4 on trials collapse; below, the constraint is missed by the less the lower."""
    template = load(
        loguniform(1e-4, 1.0),
        loguniform(1e-4, 1.0),
        objectives={"loss": "min"},
        constraints={"val_acc": ">= 99"},
    )
    study, drawn = SamplerStudy(template), []
    for _ in range(40):
        proposal = study.propose()
        drawn.append(orders(proposal.trial.params))
        last = row(val_acc=50 - drawn[-1], status="finished" if drawn[-1] < -4 else "collapsed")
        study.tell(proposal.trial, for_sampler(trial_end(last, template.sweep.scheduler), template.sweep))
    assert sum(order >= -4 for order in drawn[10:]) < 10
