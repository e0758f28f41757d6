"""The searches that are compared, each with the code that a sweep runs, but without Ray's processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from upath import UPath

from benchmarks.search_quality.record import TEMPLATE
from benchmarks.search_quality.table import Row, Table, Unused
from codeq.config import Template
from codeq.config.distributions import LogUniform
from codeq.execution.schedulers import build_scheduler
from codeq.execution.searcher import OptunaSearcher
from codeq.search.outcome import Rule, for_sampler, trial_end
from codeq.search.study import directions
from codeq.storage.trial_folder import EMPTY_METRICS


class SearchRun(Protocol):
    """A search with an early-stopping rule."""

    def suggest(self, unused: Unused) -> int:
        """Return the next trial of the table among those in `unused`, which contains at least one."""

    def goes_on(self, index: int, row: Row, *, is_last: bool) -> bool:
        """Receive a row of a running trial; returns False if the trial ends or is stopped."""


Make = Callable[[Table, int, Path], SearchRun]
"""Creates a search from the table, a seed and a folder for its files."""


class RandomSearch:
    """Random order of trials, all epochs: the baseline."""

    def __init__(self, table: Table, seed: int) -> None:
        self._order = iter(np.random.default_rng(seed).permutation(len(table.trials)))

    def suggest(self, unused: Unused) -> int:
        """Return the next trial in random order."""
        return int(next(self._order))

    def goes_on(self, index: int, row: Row, *, is_last: bool) -> bool:
        """Continue until the trial has ended."""
        return not is_last


@dataclass(frozen=True)
class _Trial:
    """The attributes of Tune's trial that schedulers use."""

    trial_id: str
    config: dict[str, Any]


class TuneSearch:
    """A Tune searcher and a Tune scheduler, called as Tune calls them."""

    def __init__(
        self,
        table: Table,
        searcher: Searcher,
        scheduler: TrialScheduler,
        parameters: Callable[[Any], dict[str, float]],
        tell: Callable[[str, Row], object],
    ) -> None:
        """parameters: reads the drawn parameters from a config that the searcher suggests. tell: gets the last row of a
        trial by its id."""
        self._table, self._searcher, self._scheduler = table, searcher, scheduler
        self._parameters, self._tell = parameters, tell
        self._trials: dict[int, _Trial] = {}

    def suggest(self, unused: Unused) -> int:
        """Return the unused trial nearest to the searcher's suggestion."""
        trial_id = str(len(self._trials))
        config = self._searcher.suggest(trial_id)
        index = self._table.nearest(self._parameters(config), unused)
        self._trials[index] = _Trial(trial_id, cast("dict[str, Any]", config))
        self._scheduler.on_trial_add(cast("Any", None), cast("Any", self._trials[index]))
        return index

    def goes_on(self, index: int, row: Row, *, is_last: bool) -> bool:
        """Return the scheduler's decision."""
        trial: Any = self._trials[index]
        controller: Any = None
        row = {**EMPTY_METRICS, **row}  # keys of a sweep's reports that the table does not contain
        if is_last:
            self._scheduler.on_trial_complete(controller, trial, row)
        elif self._scheduler.on_trial_result(controller, trial, row) == TrialScheduler.CONTINUE:
            self._searcher.on_trial_result(trial.trial_id, row)
            return True
        self._tell(trial.trial_id, row)
        return False


def sweep_template(*overrides: str) -> Template:
    """Return the template of the table's sweep."""
    return Template.load(TEMPLATE, overrides)


def ours(table: Table, seed: int, folder: Path, learn: Rule = for_sampler, overrides: Sequence[str] = ()) -> SearchRun:
    """The search of `tune_main.py`. folder: for the trials' configs. learn: the rule for reports to the sampler."""
    template = sweep_template(f"sweep.search.seed={seed}", *overrides)
    study = optuna.create_study(directions=directions(template.sweep))
    searcher = OptunaSearcher(template, study, UPath(folder), learn=learn)
    return TuneSearch(
        table,
        searcher,
        build_scheduler(template),
        lambda config: dict(study.get_trials(deepcopy=False)[config["trial"]].params),
        lambda trial_id, row: searcher.tell(trial_id, trial_end(row, template.sweep.scheduler)),
    )


def stock(table: Table, seed: int) -> SearchRun:
    """The combination in Ray's documentation: its Optuna searcher with both objectives, and ASHA on accuracy."""
    logging.getLogger("ray.tune.search.optuna.optuna_search").setLevel(logging.ERROR)
    template = sweep_template()
    sweep = template.sweep
    ranges = {p.name: cast("LogUniform", p.distribution) for p in template.parameters}
    searcher = OptunaSearch(
        space={name: FloatDistribution(d.low, d.high, log=True) for name, d in ranges.items()},
        metric=list(sweep.objectives),
        mode=list(sweep.objectives.values()),
        seed=seed,
    )
    asha = ASHAScheduler(
        time_attr="epoch",
        metric="val_acc",
        mode="max",
        max_t=template.max_epochs,
        grace_period=sweep.scheduler.grace_epochs,
        reduction_factor=sweep.scheduler.reduction_factor,
    )
    return TuneSearch(table, searcher, asha, dict, searcher.on_trial_complete)
