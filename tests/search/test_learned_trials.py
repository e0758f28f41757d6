"""Which trials the sampler of a large sweep learns from."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from codeq.search import learned_trials
from codeq.search.learned_trials import BoundedStudy

BOTH = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


def told(study: optuna.Study, trials: int) -> list[float]:
    """Run trials whose second objective is a trade-off with the first; returns what was drawn."""
    drawn = []
    for _ in range(trials):
        trial = study.ask({"x": FloatDistribution(0.0, 1.0)})
        drawn.append(x := trial.params["x"])
        state = TrialState.PRUNED if x < 0.1 else TrialState.COMPLETE
        study.tell(trial, None if x < 0.1 else [x, x**2 + (trial.number % 3)], state)
        if isinstance(study, BoundedStudy):
            study.forget()
    return drawn


def seen(study: BoundedStudy) -> list[int]:
    return [trial.number for trial in study._get_trials(deepcopy=False)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MOST": 12, "BEST": 3, "NEWEST": 4}.items():
        monkeypatch.setattr(learned_trials, name, value)


def test_a_sweep_that_is_not_large_draws_what_optunas_own_study_draws(few: None) -> None:
    def sampler() -> BaseSampler:
        return TPESampler(seed=1, n_startup_trials=4)

    plain = told(optuna.create_study(directions=BOTH, sampler=sampler()), 40)
    bounded = told(BoundedStudy(BOTH, sampler()), 40)
    assert bounded[:13] == plain[:13] and bounded[13:] != plain[13:]


def test_a_large_sweep_learns_from_its_best_and_its_newest_trials(few: None) -> None:
    study = BoundedStudy(BOTH, TPESampler(seed=1))
    for number in range(13):  # the first six are the front, each later one is worse
        trial = study.ask({"x": FloatDistribution(0.0, 1.0)})
        values = [number, number] if number < 6 else [0, number]
        study.tell(trial, *((None, TrialState.FAIL) if number == 12 else (values, TrialState.COMPLETE)))
        study.forget()
        assert len(seen(study)) == (number + 1 if number < 12 else 7)
    assert seen(study) == [3, 4, 5, 8, 9, 10, 11]
    assert len(study.trials) == 13
    told(study, 60)
    assert len(seen(study)) <= 12


def test_trials_that_satisfy_the_constraints_are_the_best(few: None) -> None:
    study = BoundedStudy(BOTH, TPESampler(seed=1))
    for number in range(13):
        trial = study.ask({"x": FloatDistribution(0.0, 1.0)})
        trial.set_constraint("val_acc", 1.0 if number else -1.0)
        study.tell(trial, [number, 0])
        study.forget()
    assert seen(study) == [0, 7, 8, 9, 10, 11, 12]


def test_a_trial_that_runs_is_seen_by_everybody(few: None) -> None:
    study = BoundedStudy(BOTH, TPESampler(seed=1))
    running = study.ask({"x": FloatDistribution(0.0, 1.0)})
    told(study, 40)
    assert running.number in seen(study)


def test_other_samplers_see_all_trials(few: None) -> None:
    study = BoundedStudy(BOTH, NSGAIISampler(seed=1, population_size=4))
    told(study, 20)
    assert seen(study) == list(range(20))
