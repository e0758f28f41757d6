"""Ray Tune's searcher over Optuna's ask and tell: Optuna's number is the trial's number everywhere."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher
from upath import UPath

from codeq.config import ConfigError, RunConfig, Template
from codeq.sweep.packs import Packs
from codeq.sweep.study import suggest
from codeq.sweep.trial_config import trial_config
from codeq.train.trial_folder import TrialRecord, trial_folder

log = logging.getLogger(__name__)

MAX_REDRAWS = 100


class OptunaSearcher(Searcher):
    """Asks the study for configs and tells it what became of them.

    A trial that trained all its epochs is told COMPLETE with its last row's objectives, one that was stopped early
    PRUNED, one that diverged, collapsed or crashed FAIL; its reason is kept as a user attribute.
    """

    def __init__(
        self,
        template: Template,
        study: optuna.Study,
        folder: UPath,
        unfinished: Iterable[TrialRecord] = (),
        device: str | None = None,
        packs: Packs | None = None,
        images: Mapping[tuple[str, str], Any] | None = None,
    ) -> None:
        """unfinished: trials of an interrupted sweep, which go on before anything new is proposed. device: where trials
        run whatever their config says; None: as it says. packs: who trains them; None: each its own process. images:
        references to data sets' raw images in Ray's object store, by (dataset, data_dir)."""
        super().__init__()
        self._template = template
        self._study = study
        self._folder = folder
        self._unfinished = list(unfinished)
        self._device = device
        self._packs = packs
        self._images = images
        self._running: dict[str, optuna.Trial] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's config for `SweepTrial` or `FusedTrial`; None while there is no room for one."""
        pack = self._packs.place(trial_id) if self._packs else None
        if self._packs and pack is None:
            return None
        trial, config = self._unfinished_trial() if self._unfinished else self._new_trial()
        self._running[trial_id] = trial
        folder = trial_folder(self._folder, trial.number)
        return trial_config(
            folder, trial.number, config, self._template.sweep, device=self._device, images=self._images, pack=pack
        )

    def _unfinished_trial(self) -> tuple[optuna.Trial, RunConfig]:
        number = self._unfinished.pop(0).trial
        stored = self._study.get_trials(deepcopy=False)[number]
        return optuna.Trial(self._study, stored._trial_id), trial_folder(self._folder, number).read_config()

    def _new_trial(self) -> tuple[optuna.Trial, RunConfig]:
        asked, config = self._ask()
        if config.threads is None:  # kept in the config, so that a winner is trained again with the same sums
            config = config.model_copy(update={"threads": max(1, int(self._template.sweep.resources.cpu))})
        record = TrialRecord(asked.number, config.run_name, config.seed, dict(asked.params))
        for name in ("run_name", "seed"):
            asked.set_user_attr(name, getattr(record, name))
        folder = trial_folder(self._folder, asked.number)
        folder.write_config(config)
        folder.write_record(record)
        return asked, config

    def _ask(self) -> tuple[optuna.Trial, RunConfig]:
        """A drawn config that is valid: values can be right one by one and wrong together."""
        for _ in range(MAX_REDRAWS):
            asked = self._study.ask()
            try:
                return asked, self._template.draw(lambda name, distribution, t=asked: suggest(t, name, distribution))  # type: ignore[misc]
            except ConfigError as error:
                asked.set_user_attr("reason", str(error))
                self._study.tell(asked, state=TrialState.FAIL)
                log.warning("drew a config that cannot be trained, drawing again: %s", error)
        raise RuntimeError(f"{MAX_REDRAWS} configs in a row could not be trained; see the warnings above")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: Optuna learns from a trial once, when it ends."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study how the trial ended."""
        if self._packs:
            self._packs.release(trial_id)
        trial = self._running.pop(trial_id, None)
        stored = self._study.get_trials(deepcopy=False)
        if trial is None or stored[trial.number].state.is_finished():  # told before the last driver was killed
            return
        status = "failed" if error or result is None else str(result["status"])
        trial.set_user_attr("status", "stopped" if status == "running" else status)
        trial.set_user_attr("reason", result["reason"] if result else "its process died")
        if result is not None and status == "finished":
            self._study.tell(trial, [float(result[name]) for name in self._template.sweep.objectives])
        else:
            self._study.tell(trial, state=TrialState.PRUNED if status == "running" else TrialState.FAIL)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state, and it is stored already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""
