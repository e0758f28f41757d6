"""What the sampler knows: an Optuna study in memory, which only the sampler ever sees.

The stored study says what happened; this one is told what the sampler learns most from (`codeq.search.outcome`).
Because the two are apart, draws that come to nothing and trials of other sweeps take no number, and a trial costs the
storage a few transactions instead of one for every parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from codeq.config import ConfigError, RunConfig, Template
from codeq.config.check import MAX_GRID
from codeq.search.outcome import StudyReport
from codeq.search.samplers import GridSampler, as_optuna, build_sampler, mixed_seed, suggest
from codeq.search.study import directions, quiet_optuna

log = logging.getLogger(__name__)

MAX_DRAWS = 100
SAMPLERS_DRAWS = 3
"""How often the sampler may repeat itself before somebody else draws."""

_LAST_RESORT = 1
"""Tells its seed from the sampler's."""

_FIRST_GENERATION = {f"{NSGAIISampler.__name__}:generation": 0}
"""NSGA-II breeds only trials of a generation; what is known beforehand is its first one."""


class Exhausted(Exception):
    """There is no config left to try; one line that says why."""


@dataclass(frozen=True)
class Proposal:
    """A drawn config, and the sampler's own trial of it."""

    trial: optuna.Trial
    config: RunConfig


class SamplerStudy:
    """Proposes configs that were not tried yet, and learns from what became of them."""

    def __init__(self, template: Template, trials_before: int = 0) -> None:
        """trials_before: how many there are already, here and in a sweep to learn from (see `build_sampler`)."""
        quiet_optuna()
        self._template = template
        self._distributions = {p.name: as_optuna(p.distribution) for p in template.parameters}
        self._sampler = build_sampler(template.sweep, trials_before)
        self._study = optuna.create_study(directions=directions(template.sweep), sampler=self._sampler)
        self._tried: set[frozenset[tuple[str, Any]]] = set()
        self._last_resort = _last_resort(template, trials_before)

    def add_trial(self, parameters: Mapping[str, Any], report: StudyReport, *, tried_here: bool = True) -> None:
        """Add a trial that has ended already. tried_here: in this sweep, so its config is not proposed again."""
        if tried_here:
            self._tried.add(_key(parameters))
        trial = create_trial(
            state=report.state,
            values=report.values,
            params=dict(parameters),
            distributions={name: self._distributions[name] for name in parameters},
            system_attrs=dict(_FIRST_GENERATION),
            constraints=dict(report.constraints),
        )
        self._study.add_trial(trial)

    def resume(self, parameters: Mapping[str, Any]) -> Proposal:
        """The config of a trial that has begun and not ended. Before anything is put in the queue."""
        self._study.enqueue_trial(dict(parameters))
        proposal = self._draw()
        self._tried.add(_key(parameters))
        return proposal

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Propose `values` (by parameter, as many as are given) before anything that the sampler thinks of."""
        self._study.enqueue_trial(dict(values), user_attrs={"enqueued": dict(values)})

    def propose(self) -> Proposal:
        """A config that was not tried yet. Raises Exhausted."""
        try:
            for draw in range(MAX_DRAWS):
                if draw == SAMPLERS_DRAWS:
                    self._study.sampler = self._last_resort
                if proposal := self._new_draw():
                    return proposal
        finally:
            self._study.sampler = self._sampler
        if len(self._tried) >= self._template.config_count:
            raise Exhausted(f"all {len(self._tried)} configs that can be drawn have been tried")
        raise Exhausted(f"of {MAX_DRAWS} draws none was a config that is new and can be trained")

    def tell(self, trial: optuna.Trial, report: StudyReport) -> None:
        """Learn what became of a proposal."""
        for name, violation in report.constraints.items():
            trial.set_constraint(name, violation)
        self._study.tell(trial, report.values, report.state)

    def stored(self, trial: optuna.Trial) -> FrozenTrial:
        """The trial as the sampler's study has it."""
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _new_draw(self) -> Proposal | None:
        """A drawn config; None if it was tried before, or if values that are right one by one are wrong together."""
        try:
            proposal = self._draw()
        except ConfigError as error:
            log.warning("drew a config that cannot be trained, drawing again: %s", error)
            return None
        key = _key(proposal.trial.params)
        if key in self._tried:
            self._study.tell(proposal.trial, state=TrialState.FAIL)
            return None
        self._tried.add(key)
        return proposal

    def _draw(self) -> Proposal:
        trial = self._study.ask()
        try:
            return Proposal(trial, self._template.draw(lambda name, distribution: suggest(trial, name, distribution)))
        except ConfigError:
            self._study.tell(trial, state=TrialState.FAIL)
            raise


def _last_resort(template: Template, trials_before: int) -> BaseSampler:
    """What draws where the sampler repeats itself: a grid if the space is small, else random search. With the sampler's
    own seed it would repeat the sampler's own random draws."""
    if template.config_count <= MAX_GRID:
        return GridSampler(seed=template.sweep.search.seed)
    return RandomSampler(seed=mixed_seed(template.sweep, trials_before, _LAST_RESORT))


def _key(parameters: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """What makes two configs the same: their drawn values, up to the rounding of a step's multiples."""
    return frozenset((n, float(f"{v:.12g}") if isinstance(v, float) else v) for n, v in parameters.items())
