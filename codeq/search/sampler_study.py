"""The sampler's own Optuna study, in memory.

The stored study records what happened; this one gets the reports from which the sampler learns most
(`codeq.search.outcome`). With two studies, rejected draws and trials of other sweeps take no trial number, and a trial
costs the storage a few transactions instead of one per parameter.
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
from codeq.config.boundary_check import MAX_GRID
from codeq.search.learned_trials import BoundedStudy
from codeq.search.outcome import StudyReport
from codeq.search.samplers import GridSampler, as_optuna, build_sampler, mixed_seed, suggest
from codeq.search.study import directions, quiet_optuna

log = logging.getLogger(__name__)

MAX_DRAWS = 100
SAMPLERS_DRAWS = 3
"""Draws of the sampler that may repeat known configs before a grid or random search draws instead."""

_FALLBACK = 1
"""Mixed into the fallback's seed, so that it differs from the sampler's."""

_FIRST_GENERATION = {f"{NSGAIISampler.__name__}:generation": 0}
"""NSGA-II selects parents only from trials that have a generation; trials known beforehand form the first."""


class Exhausted(Exception):
    """There is no config left to try; the message is one line that says why."""


@dataclass(frozen=True)
class Proposal:
    """A drawn config, and its trial in the sampler's study."""

    trial: optuna.Trial
    config: RunConfig


class SamplerStudy:
    """Proposes configs that were not tried yet, and learns from how their trials ended."""

    def __init__(self, template: Template, trials_before: int = 0) -> None:
        """trials_before: how many there are already, here and in a sweep to learn from (see `build_sampler`)."""
        quiet_optuna()
        self._template = template
        self._distributions = {p.name: as_optuna(p.distribution) for p in template.parameters}
        self._sampler = build_sampler(template.sweep, trials_before)
        self._study = BoundedStudy(directions(template.sweep), self._sampler)
        self._tried: set[frozenset[tuple[str, Any]]] = set()
        self._fallback = _fallback(template, trials_before)

    def add_trial(self, parameters: Mapping[str, Any], report: StudyReport, *, tried_here: bool = True) -> None:
        """Add a trial that has ended already. tried_here: in this sweep, so its config is not proposed again."""
        if tried_here:
            self._tried.add(_key(parameters))
        self._add(report.state, parameters, values=report.values, constraints=dict(report.constraints))

    def _add(self, state: TrialState, parameters: Mapping[str, Any], **more: Any) -> None:
        trial = create_trial(
            state=state,
            params=dict(parameters),
            distributions={name: self._distributions[name] for name in parameters},
            system_attrs=dict(_FIRST_GENERATION),
            **more,
        )
        self._study.add_trial(trial)
        self._study.forget()

    def resume(self, parameters: Mapping[str, Any]) -> Proposal:
        """The config of a trial that has begun and not ended."""
        config = self._template.draw(lambda name, distribution: parameters[name])
        self._tried.add(_key(parameters))
        self._add(TrialState.RUNNING, parameters)
        return Proposal(optuna.Trial(self._study, self._study.get_trials(deepcopy=False)[-1]._trial_id), config)

    def skip(self, parameters: Mapping[str, Any], enqueued: Mapping[str, Any] | None = None) -> None:
        """Do not propose a config that another driver has begun; enqueued: the entry of the queue that it is."""
        self._tried.add(_key(parameters))
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if enqueued is not None and trial.user_attrs.get("enqueued") == enqueued:
                waiting = optuna.Trial(self._study, trial._trial_id)
                waiting.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                return  # an entry that leaves values open may be there twice

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Propose `values`, by parameter name and perhaps not for all, before the sampler's own draws."""
        self._study.enqueue_trial(dict(values), user_attrs={"enqueued": dict(values)})

    def propose(self) -> Proposal:
        """A config that was not tried yet. Raises Exhausted."""
        try:
            for draw in range(MAX_DRAWS):
                if draw == SAMPLERS_DRAWS:
                    self._study.sampler = self._fallback
                if proposal := self._new_draw():
                    return proposal
        finally:
            self._study.sampler = self._sampler
        if len(self._tried) >= self._template.config_count:
            raise Exhausted(f"all {len(self._tried)} configs that can be drawn have been tried")
        raise Exhausted(f"of {MAX_DRAWS} draws none was a config that is new and can be trained")

    def tell(self, trial: optuna.Trial, report: StudyReport) -> None:
        """Report how a proposal's trial ended."""
        for name, violation in report.constraints.items():
            trial.set_constraint(name, violation)
        self._study.tell(trial, report.values, report.state)
        self._study.forget()

    def stored(self, trial: optuna.Trial) -> FrozenTrial:
        """The trial as the sampler's study has it."""
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _new_draw(self) -> Proposal | None:
        """A drawn config; None if it was tried before, or if its values are invalid in combination."""
        try:
            proposal = self._draw()
        except ConfigError as error:
            log.warning("drew a config that cannot be trained, drawing again: %s", error)
            return None
        key = _key(proposal.trial.params)
        if key in self._tried:
            if (enqueued := proposal.trial.user_attrs.get("enqueued")) is not None:
                log.warning("%s", self._template.enqueue_problem(enqueued, "was tried already and is not tried again"))
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


def _fallback(template: Template, trials_before: int) -> BaseSampler:
    """The sampler that draws when the configured one repeats itself: a grid if the space is small, else random search.

    Its seed differs from the sampler's, whose random draws it would otherwise repeat.
    """
    if template.config_count <= MAX_GRID:
        return GridSampler(seed=template.sweep.search.seed)
    return RandomSampler(seed=mixed_seed(template.sweep, trials_before, _FALLBACK))


def _key(parameters: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Equal for equal configs: the drawn values, rounded to 12 digits since multiples of a step are inexact."""
    return frozenset((n, float(f"{v:.12g}") if isinstance(v, float) else v) for n, v in parameters.items())
