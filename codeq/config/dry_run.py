"""What a sweep would do, in words, from its template alone: `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from codeq.config.epoch_budget import EpochBudget, epoch_budget
from codeq.config.objectives import describe_constraints
from codeq.config.sweep import SweepConfig
from codeq.config.template import Template
from codeq.config.text import pluralize


def plan(template: Template) -> str:
    """The objectives, the search space, the sampler, early stopping and the number of epochs, a line each."""
    sweep = template.sweep
    trials, epochs = pluralize(int(sweep.trials or 1), "trial"), pluralize(template.max_epochs, "epoch")
    every = ", all configs that can be drawn" if template.parameters and sweep.trials == template.config_count else ""
    every += f" ({template.requested_trials:,} were asked for)" if template.missing_configs else ""
    head = f"{sweep.name}: {trials} of at most {epochs}{every}"
    return "\n".join([head, *(f"  {line}" for line in _lines(template))])


def _lines(template: Template) -> Iterator[str]:
    sweep, planned = template.sweep, epoch_budget(template)
    yield "objectives: " + ", ".join(f"{metric} {direction}" for metric, direction in sweep.objectives.items())
    if sweep.constraints:
        yield f"constraints: {describe_constraints(sweep.constraints)}"
    if template.parameters:
        yield f"sampler: {_sampler(sweep)}"
        for parameter in template.parameters:
            yield f"{parameter.name}: {parameter.distribution}{' (conditional)' if parameter.conditional else ''}"
        yield f"early stopping: {_stopping(template, planned)}"
    yield f"trial-epochs: {_epochs(template, planned)}"
    if sweep.time_budget:
        yield f"time budget: {sweep.time_budget}"


def _sampler(sweep: SweepConfig) -> str:
    search = sweep.search
    first = min(search.startup_trials, int(sweep.trials or 1))
    # The trials of a warm start count as the first ones.
    at_random = "" if search.warm_start else f", random for the first {pluralize(first, 'trial')}"
    learns = {
        "tpe": at_random,
        "gp": at_random,
        "nsga2": f", generations of {search.startup_trials} trials",
    }
    enqueued = f"; {pluralize(len(sweep.enqueue), 'enqueued config')} first" if sweep.enqueue else ""
    return f"{search.sampler}{learns.get(search.sampler, '')}{enqueued}"


def _learns(sweep: SweepConfig) -> bool:
    """Whether the sampler draws any of the trials by what it has learned."""
    search = sweep.search
    if not search.learns:
        return False
    return search.warm_start is not None or int(sweep.trials or 1) > search.startup_trials


def _stopping(template: Template, planned: EpochBudget | None) -> str:
    scheduler = template.sweep.scheduler
    if planned is None:
        return f"{scheduler.name}, after any epoch from {scheduler.grace_epochs} on"
    if scheduler.name == "none":
        return "none"
    if len(planned.trials_per_rung) == 1:
        return f"none: {scheduler.name} stops no trial before epoch {scheduler.grace_epochs}"
    (_, trials), *_ = planned.trials_per_rung.items()
    stretches = pairwise(planned.trials_per_rung.items())
    continuing = [f"{number:,.0f} after epoch {epoch}" for (epoch, _), (_, number) in stretches]
    share = f"one trial in {scheduler.reduction_factor} continues"
    return f"{scheduler.name}, {share}: of {trials:,.0f} about {', '.join(continuing)}"


def _epochs(template: Template, planned: EpochBudget | None) -> str:
    if planned is None:
        worst = int(template.sweep.trials or 1) * template.max_epochs
        return f"{worst:,} at most; how many are saved depends on the curves"
    if round(planned.expected) == planned.worst:
        return f"{planned.worst:,}"
    low, high = planned.p10_p90
    learns = ", more as the sampler learns" if _learns(template.sweep) else ""
    return f"{planned.worst:,} at most, about {planned.expected:,.0f} expected ({low:,.0f} to {high:,.0f}){learns}"
