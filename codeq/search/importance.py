"""Which parameters matter for each objective, tested against chance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from codeq.config import Template
from codeq.config.objectives import Row, maximized_values
from codeq.search.samplers import as_optuna

BETTER_SHARE = 1 / 3
"""The share of trials that count as good. Optuna's default of a tenth finds half as much in two dozen trials."""
SHUFFLES = 19
"""A parameter matters if it beats this many shuffles: one that does not matter would do so once in 20 times."""


def importances(
    template: Template, parameters: Sequence[Mapping[str, Any]], rows: Sequence[Row]
) -> dict[str, dict[str, float]]:
    """For each objective the parameters that matter for it, most important first, with its share of all importance.

    parameters, rows: drawn values by dotted path and metrics of each trial. Importances are Optuna's (PED-ANOVA, arXiv
    2304.10255; parameters that only some trials have: arXiv 2601.20800). A parameter matters if its importance is above
    that of every parameter in every study whose scores were shuffled among the trials. Deterministic.
    """
    study = _study(template, parameters)
    return {
        objective: _supported(study, -np.array([maximized_values(row, {objective: direction})[0] for row in rows]))
        for objective, direction in template.sweep.objectives.items()
    }


def _supported(study: optuna.Study, losses: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    found = _importances(study, losses)
    random = np.random.default_rng(0)
    chance = max(max(_importances(study, random.permutation(losses)).values(), default=0.0) for _ in range(SHUFFLES))
    total = sum(found.values())
    return {name: importance / total for name, importance in found.items() if importance > chance}


def _importances(study: optuna.Study, losses: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that targets are minimized, that normalize is experimental
        return get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=BETTER_SHARE),
            target=lambda trial: float(losses[trial.number]),
            normalize=False,
        )


def _study(template: Template, parameters: Sequence[Mapping[str, Any]]) -> optuna.Study:
    """A study in memory with a trial for each mapping; the values of its trials are not used."""
    distributions = {parameter.name: as_optuna(parameter.distribution) for parameter in template.parameters}
    study = optuna.create_study()
    for drawn in parameters:
        own = {name: distributions[name] for name in drawn}
        study.add_trial(optuna.trial.create_trial(params=dict(drawn), distributions=own, value=0.0))
    return study
