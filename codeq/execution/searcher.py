"""Ray Tune's searcher on top of Optuna's ask and tell; a trial's number is that of the stored study."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, cast

import optuna
from ray.tune.search import Searcher
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.execution.trial import Placement, trial_config
from codeq.search.outcome import Rule, TrialEnd, for_sampler, for_study
from codeq.search.recovery import run_attributes
from codeq.search.sampler_study import Exhausted, Proposal, SamplerStudy
from codeq.search.study import begin_trial, end_trial, resume_waiting
from codeq.search.warm_start import WarmStartTrial
from codeq.storage.trial_folder import TrialRecord, trial_folder

log = logging.getLogger(__name__)


class OptunaSearcher(Searcher):
    """Proposes configs, and reports the ends of their trials to the stored study and to the sampler's study.

    Unfinished trials of the stored study are resumed, under their numbers, before new configs are proposed.
    """

    def __init__(
        self,
        template: Template,
        study: optuna.Study,
        folder: UPath,
        warm_start: Iterable[WarmStartTrial] = (),
        placement: Placement | None = None,
        learn: Rule = for_sampler,
    ) -> None:
        """warm_start: trials of another sweep that the sampler learns from. learn: makes the report to the sampler."""
        super().__init__()
        self._template = template
        self._study = study
        self._folder = folder
        self._placement = placement or Placement()
        self._learn = learn
        stored, others = study.get_trials(deepcopy=False), list(warm_start)
        self._sampler_study = SamplerStudy(template, len(stored) + len(others))
        for known in others:
            self._sampler_study.add_trial(known.parameters, learn(known.end, template.sweep), tried_here=False)
        for trial in stored:
            if (before := TrialEnd.of_stored(trial)) and trial.state.is_finished():
                self._sampler_study.add_trial(trial.params, learn(before, template.sweep))
        self._unfinished = {t.number: self._sampler_study.resume(t.params) for t in stored if not t.state.is_finished()}
        begun = [trial.user_attrs.get("enqueued") for trial in stored]
        for values in template.sweep.enqueue:
            if values in begun:
                begun.remove(values)  # an entry that leaves values open may be there twice
            else:
                self._sampler_study.enqueue(values)
        self._running: dict[str, tuple[optuna.Trial, Proposal]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's config for `SweepTrial`; FINISHED when everything has been tried."""
        try:
            trial, config = self._go_on(trial_id) if self._unfinished else self._begin(trial_id)
        except Exhausted as reason:
            log.warning("the search ends: %s", reason)
            return cast("dict[str, Any]", Searcher.FINISHED)  # a string, which Tune's annotation omits
        folder = trial_folder(self._folder, trial.number)
        return trial_config(folder, trial.number, config, self._template.sweep, self._placement)

    def _go_on(self, trial_id: str) -> tuple[optuna.Trial, RunConfig]:
        trial = resume_waiting(self._study)
        trial.set_user_attr("tune_trial_id", trial_id)
        proposal = self._unfinished.pop(trial.number)
        self._running[trial_id] = trial, proposal
        folder = trial_folder(self._folder, trial.number)
        if folder.read_record() is None:  # the driver was killed before it had written it
            return trial, self._write_down(trial, proposal)
        return trial, folder.read_config()

    def _begin(self, trial_id: str) -> tuple[optuna.Trial, RunConfig]:
        proposal = self._sampler_study.propose()
        config = proposal.config
        attributes = {**run_attributes(config), "tune_trial_id": trial_id}
        trial = begin_trial(self._study, self._sampler_study.stored(proposal.trial), attributes)
        self._running[trial_id] = trial, proposal
        return trial, self._write_down(trial, proposal)

    def _write_down(self, trial: optuna.Trial, proposal: Proposal) -> RunConfig:
        config = proposal.config
        if config.threads is None:  # kept in the config, so that a winner is trained again with the same sums
            config = config.model_copy(update={"threads": self._template.sweep.resources.threads})
        folder = trial_folder(self._folder, trial.number)
        folder.write_config(config)
        folder.write_record(TrialRecord(trial.number, config.run_name, config.seed, dict(proposal.trial.params)))
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: Optuna learns from a trial once, when it ends."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `TrialRecorder` records the end first, then calls `tell`."""

    def tell(self, trial_id: str, end: TrialEnd) -> None:
        """Tell the study and the sampler how the trial with this Tune id ended."""
        trial, proposal = self._running.pop(trial_id)
        sweep = self._template.sweep
        end_trial(trial, end, for_study(end, sweep))
        self._sampler_study.tell(proposal.trial, self._learn(end, sweep))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is in the stored study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""
