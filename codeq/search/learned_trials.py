"""A study in memory whose sampler learns from a bounded number of trials.

The time that TPE takes for a draw grows with the trials that it compares: on one slow core 62 ms among 1,000, 148 ms
among 3,000 (four parameters). So a large sweep's draws are made from its best and its newest trials.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

import numpy as np
import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from codeq.search.pareto_order import front_numbers

MOST = 1000
"""The sampler learns from all trials until more than this many have ended."""
BEST, NEWEST = 100, 400
"""How many it then keeps, until there are more than MOST again. TPE takes the best tenth for good ones."""


class BoundedStudy(optuna.Study):
    """A study that hides from its TPE sampler the trials from which it no longer learns, and from nobody else."""

    def __init__(self, directions: Sequence[StudyDirection], sampler: BaseSampler) -> None:
        storage = InMemoryStorage()
        name = storage.get_study_name_from_id(storage.create_new_study(directions))
        super().__init__(name, storage, sampler)
        self._kept: list[int] = []  # numbers of earlier trials that are shown
        self._since = 0  # the trial from which on all are shown

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """All trials, by number."""
        return self._storage.get_all_trials(self._study_id, deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """What samplers read."""
        trials = self._shown()
        found = trials if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _shown(self) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return [*(trials[number] for number in self._kept), *trials[self._since :]]

    def forget(self) -> None:
        """To be called when a trial has ended: if the sampler is shown more than MOST of them, leave some out."""
        shown = self._shown()
        ended = [trial for trial in shown if trial.state.is_finished()] if len(shown) > MOST else []
        # Other samplers need every trial, such as NSGA-II the parents of its generation.
        if len(ended) <= MOST or not isinstance(self.sampler, TPESampler):
            return
        best = {trial.number for trial in self._best(ended)}
        others = [t.number for t in ended if t.number not in best and t.state is not TrialState.FAIL]
        unfinished = [trial.number for trial in shown if not trial.state.is_finished()]
        self._kept, self._since = sorted([*best, *others[-NEWEST:], *unfinished]), shown[-1].number + 1

    def _best(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The best complete trials: feasible before infeasible ones, front by front, the newest of a front first."""
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        if not complete:
            return []
        signs = [1.0 if direction is StudyDirection.MAXIMIZE else -1.0 for direction in self.directions]
        values = np.array([trial.values for trial in complete]) * signs
        names = sorted({name for trial in complete for name in trial.constraints})
        missed = np.array([[trial.constraints.get(name, np.inf) for name in names] for trial in complete])
        fronts = front_numbers(values, missed.reshape(len(complete), len(names)))
        newest_first = np.lexsort((-np.arange(len(complete)), fronts))
        return [complete[index] for index in newest_first[:BEST]]
