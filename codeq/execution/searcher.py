"""Ray Tune's searcher on top of Optuna's ask and tell; a trial's number is that of the stored study."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, cast
from uuid import uuid4

import optuna
from optuna.trial import FrozenTrial
from ray.tune.search import Searcher
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.config.text import one_line
from codeq.execution.trial import Placement, trial_config
from codeq.search.outcome import Rule, TrialEnd, for_sampler, for_study
from codeq.search.recovery import run_attributes
from codeq.search.sampler_study import Exhausted, Proposal, SamplerStudy
from codeq.search.shared_study import FOLDER, SharedStudy
from codeq.search.study import OWNER, StudyUnavailable, begin_trial, end_trial, find_trial, resume_trial
from codeq.search.warm_start import WarmStartTrial
from codeq.storage.atomic_files import warn_once
from codeq.storage.trial_folder import TrialRecord, trial_folder

log = logging.getLogger(__name__)

UNAVAILABLE = "the study cannot be used now; trials go on and are stored in it later"
STUDY_AGAIN_S = 10.0
"""Seconds after which a study that could not be used is tried again."""
OTHERS_AGAIN_S = 2.0
"""Seconds after which a driver that has nothing to begin looks again whether the others have ended."""
_KEY = "key"
"""The user attribute by which a trial is found that may or may not have been stored."""


class OptunaSearcher(Searcher):
    """Proposes configs, and reports the ends of their trials to the stored study and to the sampler's study.

    Unfinished trials of the stored study are resumed, under their numbers, before new configs are proposed. Several
    drivers of one study resume their own trials; when all have begun, each waits for the others to end theirs, and
    takes over those of a driver that has gone.
    """

    def __init__(
        self,
        template: Template,
        study: optuna.Study,
        folder: UPath,
        warm_start: Iterable[WarmStartTrial] = (),
        placement: Placement | None = None,
        learn: Rule = for_sampler,
        shared: SharedStudy | None = None,
        drivers_before: int = 0,
    ) -> None:
        """warm_start: trials of another sweep that the sampler learns from. learn: makes the report to the sampler.

        shared: the study, if it has several drivers; drivers_before: how many had joined before this one.
        """
        super().__init__()
        self._template = template
        self._study = study
        self._folder = folder
        self._placement = placement or Placement()
        self._learn = learn
        stored, others = study.get_trials(deepcopy=False), list(warm_start)
        self._shared = shared
        # Otherwise drivers that begin at the same time would all draw the same.
        self._sampler_study = SamplerStudy(template, len(stored) + len(others) + drivers_before)
        for known in others:
            self._sampler_study.add_trial(known.parameters, learn(known.end, template.sweep), tried_here=False)
        for trial in stored:
            if (before := TrialEnd.of_stored(trial)) and trial.state.is_finished():
                self._sampler_study.add_trial(trial.params, learn(before, template.sweep))
        self._known = {trial.number for trial in stored if trial.state.is_finished() or self._is_mine(trial)}
        self._awaited = set[int]()  # of other drivers
        self._waits = False
        unfinished = [trial for trial in stored if not trial.state.is_finished() and self._is_mine(trial)]
        self._unfinished = {trial.number: self._sampler_study.resume(trial.params) for trial in unfinished}
        begun = [trial.user_attrs.get("enqueued") for trial in stored]
        for values in template.sweep.enqueue:
            if values in begun:
                begun.remove(values)  # an entry that leaves values open may be there twice
            else:
                self._sampler_study.enqueue(values)
        self._running: dict[str, tuple[optuna.Trial, Proposal]] = {}
        self._proposal: tuple[Proposal, str] | None = None  # one that could not be stored yet
        self._is_repeated = False  # whether the study may hold it nevertheless
        self._study_again_at = 0.0
        self._ends = deque[tuple[optuna.Trial, TrialEnd]]()  # those that are not stored yet

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's config for `SweepTrial`; FINISHED when everything has been tried."""
        if time.monotonic() < self._study_again_at:
            return None
        try:
            self.store_ends()
            with self._lock():
                begun = self._next(trial_id)
        except Exhausted as reason:
            if reason.args:
                log.warning("the search ends: %s", reason)
            return cast("dict[str, Any]", Searcher.FINISHED)  # a string, which Tune's annotation omits
        except StudyUnavailable as error:
            self._wait_for_study(error)
            return None
        if begun is None:
            self._study_again_at = time.monotonic() + OTHERS_AGAIN_S
            return None
        trial, config = begun
        folder = trial_folder(self._folder, trial.number)
        return trial_config(folder, trial.number, config, self._template.sweep, self._placement)

    def _next(self, trial_id: str) -> tuple[optuna.Trial, RunConfig] | None:
        """The next trial and its config; None while other drivers train all that are left. Raises Exhausted."""
        if self._shared is None:
            return self._go_on(trial_id) if self._unfinished else self._begin(trial_id)
        trials = self._shared.trials()
        self._hear_of(trials)
        self._unfinished = {number: p for number, p in self._unfinished.items() if self._is_mine(trials[number])}
        if self._unfinished:
            return self._go_on(trial_id)
        reason = Exhausted()  # all trials have begun
        if len(trials) < int(self._template.sweep.trials or 1):
            try:
                return self._begin(trial_id)
            except Exhausted as error:
                reason = error
        if gone := self._shared.abandoned(trials):
            self._take_over(gone[0], self._shared)
            return self._go_on(trial_id)
        if all(trial.state.is_finished() or self._is_mine(trial) for trial in trials):
            raise reason
        if not self._waits:
            self._waits = True
            log.info("All trials have begun; waiting for those of other drivers.")
        return None

    def _is_mine(self, trial: FrozenTrial) -> bool:
        return self._shared is None or self._shared.is_mine(trial)

    def _hear_of(self, trials: Iterable[FrozenTrial]) -> None:
        """Tell the sampler of other drivers' trials: not to propose them once they have begun, and how they ended."""
        for trial in trials:
            if trial.number not in self._known:
                self._sampler_study.skip(trial.params, trial.user_attrs.get("enqueued"))
                self._known.add(trial.number)
                self._awaited.add(trial.number)
            if trial.number in self._awaited and trial.state.is_finished():
                self._awaited.remove(trial.number)
                if end := TrialEnd.of_stored(trial):
                    self._sampler_study.add_trial(trial.params, self._learn(end, self._template.sweep))

    def _take_over(self, stored: FrozenTrial, shared: SharedStudy) -> None:
        """Make a trial of a driver that has gone this one's, to go on from its checkpoint if its folder can be read."""
        shared.take(stored, str(self._folder))
        proposal = self._sampler_study.resume(stored.params)
        self._unfinished[stored.number] = proposal
        self._awaited.discard(stored.number)
        self._write_down(stored.number, proposal)
        folder = trial_folder(self._folder, stored.number)
        try:
            before = trial_folder(UPath(stored.user_attrs[FOLDER]), stored.number)
            if before.read_config().config_hash == stored.user_attrs["config_hash"]:
                folder.copy_training(before)
        except Exception as error:  # whatever a storage raises
            log.info("trial %s: its files cannot be read here, it begins again: %s", folder.path.name, one_line(error))
        log.warning("trial %s: its driver has gone, it goes on here", folder.path.name)

    def _go_on(self, trial_id: str) -> tuple[optuna.Trial, RunConfig]:
        number = next(iter(self._unfinished))
        trial = resume_trial(self._study, number)
        proposal = self._unfinished.pop(number)
        self._running[trial_id] = trial, proposal
        folder = trial_folder(self._folder, number)
        if folder.read_record() is None:  # the driver was killed before it had written it
            return trial, self._write_down(trial.number, proposal)
        return trial, folder.read_config()

    def _begin(self, trial_id: str) -> tuple[optuna.Trial, RunConfig]:
        proposal, key = self._proposal or (self._sampler_study.propose(), uuid4().hex)
        self._proposal = proposal, key  # kept, should the study be unavailable
        trial = find_trial(self._study, _KEY, key) if self._is_repeated else None
        if trial is None:
            self._is_repeated = True
            attributes = {**run_attributes(proposal.config), _KEY: key}
            if self._shared is not None:
                attributes |= {OWNER: self._shared.driver, FOLDER: str(self._folder)}
            trial = begin_trial(self._study, self._sampler_study.stored(proposal.trial), attributes)
        self._proposal, self._is_repeated = None, False
        self._known.add(trial.number)
        self._running[trial_id] = trial, proposal
        return trial, self._write_down(trial.number, proposal)

    def _write_down(self, number: int, proposal: Proposal) -> RunConfig:
        config = proposal.config
        if config.threads is None:  # kept in the config, so that a winner is trained again with the same sums
            config = config.model_copy(update={"threads": self._template.sweep.resources.threads})
        folder = trial_folder(self._folder, number)
        folder.write_config(config)
        folder.write_record(TrialRecord(number, config.run_name, config.seed, dict(proposal.trial.params)))
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: Optuna learns from a trial once, when it ends."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `TrialRecorder` records the end first, then calls `tell`."""

    def tell(self, trial_id: str, end: TrialEnd) -> None:
        """Tell the study and the sampler how the trial with this Tune id ended."""
        trial, proposal = self._running.pop(trial_id)
        self._sampler_study.tell(proposal.trial, self._learn(end, self._template.sweep))
        self._ends.append((trial, end))
        self.store_ends()

    def store_ends(self, wait_s: float = 0.0) -> bool:
        """Store the ends of trials in the study; returns whether all are stored. An unavailable study is tried again
        later, at the next call, or for `wait_s` seconds: the trials' folders have recorded their ends."""
        deadline = time.monotonic() + wait_s
        while self._ends and (wait_s or time.monotonic() >= self._study_again_at):
            trial, end = self._ends[0]
            try:
                with self._lock():
                    self._store(trial, end)
            except StudyUnavailable as error:
                self._wait_for_study(error)
                if time.monotonic() >= deadline:
                    return False
            else:
                self._ends.popleft()
        return not self._ends

    def _store(self, trial: optuna.Trial, end: TrialEnd) -> None:
        """Store how a trial ended, unless another driver has taken it over because this one gave no sign of life."""
        if self._shared is None or self._shared.is_mine(self._shared.trials()[trial.number]):
            end_trial(trial, end, for_study(end, self._template.sweep))
            return
        folder = trial_folder(self._folder, trial.number)
        folder.remove()
        log.warning("trial %s: another driver has taken it over, its result here is left out", folder.path.name)

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return self._shared.locked() if self._shared else contextlib.nullcontext()

    def _wait_for_study(self, error: StudyUnavailable) -> None:
        """Leave the study alone for a while: an attempt takes seconds, in which the driver hears of no trial."""
        warn_once(log, f"{UNAVAILABLE}: {error}")
        self._study_again_at = time.monotonic() + STUDY_AGAIN_S

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is in the stored study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""
