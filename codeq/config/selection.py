"""Which trial of a front is the winner: the best in one metric, or the knee of several."""

from __future__ import annotations

from codeq.config.errors import ConfigError, Problem, SourceLocation, format_value
from codeq.config.metrics import METRICS, REPORTED
from codeq.config.objectives import Objectives
from codeq.config.sweep import SweepConfig, did_you_mean_metric, parse_bound
from codeq.config.text import join_and

KNEE = "knee"


def selection_objectives(sweep: SweepConfig, pick: str | None = None) -> Objectives:
    """The objectives by which the winner is selected: the best in one metric, or the knee of several.

    pick: a metric, `knee` for all objectives, or None. None means the objectives that no constraint bounds: of
    `val_acc` and `sparsity` with `val_acc: ">= 90"`, the sparsity; all objectives if that leaves none. Raises
    ConfigError for any other `pick`.
    """
    if pick is None:
        return _open_objectives(sweep) or sweep.objectives
    if pick == KNEE:
        return sweep.objectives
    better = {name: direction for name in REPORTED if (direction := METRICS[name].direction)}
    directions: Objectives = {**better, **sweep.objectives}
    if pick not in directions:
        raise ConfigError([Problem(SourceLocation("--pick"), "", _refusal(pick, [KNEE, *directions]))])
    return {pick: directions[pick]}


def _refusal(pick: str, choices: list[str]) -> str:
    if pick in METRICS and not METRICS[pick].reported:
        return f"{pick} cannot be picked by: a winner chosen on the test set would have nothing left to be judged by"
    return f"is {format_value(pick)}, must be one of {', '.join(choices)}{did_you_mean_metric(pick, choices)}"


def _open_objectives(sweep: SweepConfig) -> Objectives:
    """The objectives without a constraint on their worse side; a satisfied constraint settles the others."""
    relations = {"max": ">=", "min": "<="}
    bounded = {name: parse_bound(bound)[0] for name, bound in sweep.constraints.items()}
    return {name: d for name, d in sweep.objectives.items() if bounded.get(name) != relations[d]}


def describe(objectives: Objectives) -> str:
    """The choice as tables and headers say it: `highest sparsity`, or `knee in val_acc and sparsity`."""
    if len(objectives) > 1:
        return f"knee in {join_and(objectives)}"
    superlative = {"max": "highest", "min": "lowest"}
    return "".join(f"{superlative[direction]} {name}" for name, direction in objectives.items())
