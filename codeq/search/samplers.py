"""Optuna's samplers by their names in the template, and our distributions as Optuna's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, Uniform
from codeq.config.sweep import SweepConfig


def as_optuna(distribution: Distribution) -> BaseDistribution:
    """Optuna's distribution of the same values; a Choice becomes one of its labels."""
    match distribution:
        case Uniform(low=low, high=high, step=step):
            return FloatDistribution(low, high, step=step)
        case LogUniform(low=low, high=high):
            return FloatDistribution(low, high, log=True)
        case Int(low=low_int, high=high_int, step=step_int, log=log):
            return IntDistribution(low_int, high_int, step=step_int, log=log)
        case Choice(labels=labels):
            return CategoricalDistribution(labels)


def suggest(trial: optuna.Trial, name: str, distribution: Distribution) -> Any:
    """The sampler's value for the parameter `name`; a Choice gives one of its labels."""
    match as_optuna(distribution):
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
        case IntDistribution(low=low_int, high=high_int, step=step_int, log=log):
            return trial.suggest_int(name, low_int, high_int, step=step_int, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)


def build_sampler(sweep: SweepConfig, trials_before: int = 0) -> BaseSampler:
    """The configured sampler, seeded.

    trials_before: trials that the sweep holds already, or learns from. They are mixed into the seed: otherwise a
    resumed sweep would draw its first trials again, and a warm-started sweep those of the other sweep.
    """
    search = sweep.search
    if trials_before and search.sampler != "grid":
        search = search.model_copy(update={"seed": mixed_seed(sweep, trials_before)})
    match search.sampler:
        case "tpe":
            # With one objective parameters are modelled jointly, those of each choice as a separate group. With several
            # they are modelled independently: good trials spread over a front, and a joint model narrows too soon.
            together = len(sweep.objectives) == 1
            return TPESampler(
                seed=search.seed, n_startup_trials=search.startup_trials, multivariate=together, group=together
            )
        case "nsga2":
            return NSGAIISampler(seed=search.seed, population_size=search.startup_trials)
        case "gp":
            # Otherwise it warns about every parameter that exists only under some choice, which it draws at random.
            return GPSampler(
                seed=search.seed, n_startup_trials=search.startup_trials, warn_independent_sampling=False
            )
        case "random":
            return RandomSampler(seed=search.seed)
        case "grid":
            return GridSampler(seed=search.seed)


def mixed_seed(sweep: SweepConfig, *numbers: int) -> int:
    """A seed, 0 to 2**32 - 1, derived from the search's seed and `numbers`."""
    return int(np.random.SeedSequence((sweep.search.seed, *numbers)).generate_state(1)[0])


class GridSampler(BruteForceSampler):
    """Every combination once, nested choices included. The caller stops after the last one."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: the base class calls Study.stop here, which raises in ask-and-tell use."""
