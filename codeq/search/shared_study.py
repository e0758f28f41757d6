"""Several drivers on one study, that of `sweep.study`: together they train `sweep.trials` trials.

Each driver has a folder of its own, and the trials that it has begun. While it lives, it renews a sign of life in the
study. Trials of a driver that has ended, or that gives no sign for DEAD_AFTER_S seconds, are taken over by the others.
What decides who trains what happens under a lock in the database.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import optuna
import sqlalchemy
from filelock import Timeout
from optuna.trial import FrozenTrial

from codeq.config.objectives import Row
from codeq.search.servers import database_engine
from codeq.search.study import LOCK_TIMEOUT_S, OWNER, StudyUnavailable, available, is_owned, lock_file, optuna_url

log = logging.getLogger(__name__)

SIGN_EVERY_S = 5.0
DEAD_AFTER_S = 30.0

FOLDER = "folder"
"""The user attribute of a trial that names its driver's folder."""
_SIGN = "driver_"
"""The study's user attribute of a driver's sign of life: the time of its clock, None once it has ended."""
_RUNG = "rung_"
"""The user attribute of a trial's row at a rung."""
# Optuna itself locks the study's row whenever it adds a trial, so another row of the study is taken.
_LOCK = sqlalchemy.text("SELECT study_direction_id FROM study_directions WHERE study_id = :study FOR UPDATE")


class SharedStudy:
    """A study as one of its drivers sees it. The methods raise StudyUnavailable.

    driver: its name, the same after `--resume`.
    """

    def __init__(self, study: optuna.Study, url: str, driver: str) -> None:
        self.driver = driver
        self._study, self._engine, self._file = study, database_engine(url), lock_file(optuna_url(url))
        self._signs: dict[str, tuple[Any, float]] = {}  # of other drivers, and when they were first seen
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sign_on, name="sign of life", daemon=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other drivers from beginning or taking over trials meanwhile. Must not be nested."""
        with available(), contextlib.ExitStack() as stack:
            if self._file is not None:
                try:
                    stack.enter_context(self._file)
                except Timeout:
                    raise StudyUnavailable(f"{self._file.lock_file} is locked") from None
            else:
                connection = stack.enter_context(self._engine.begin())
                if connection.dialect.name == "postgresql":  # it would wait without end
                    connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S:.0f}s'"))
                connection.execute(_LOCK, {"study": self._study._study_id})
            yield

    @available()
    def join(self) -> int:
        """Begin to give signs of life, until `leave`; returns how many drivers had joined before, ended ones too."""
        before = sum(name.startswith(_SIGN) for name in self._study.user_attrs)
        self._sign(time.time())
        self._thread.start()
        return before

    @available()
    def leave(self) -> None:
        """Say that this driver has ended."""
        self._stop.set()
        self._thread.join()  # it would sign again
        self._sign(None)
        self._engine.dispose()

    def _sign_on(self) -> None:
        while not self._stop.wait(SIGN_EVERY_S):
            with contextlib.suppress(Exception):  # a database that does not answer now may answer later
                self._sign(time.time())

    def _sign(self, value: float | None) -> None:
        self._study.set_user_attr(_SIGN + self.driver, value)

    def is_mine(self, trial: FrozenTrial) -> bool:
        """Whether the trial belongs to this driver."""
        return is_owned(trial, self.driver)

    @available()
    def trials(self) -> list[FrozenTrial]:
        """All trials of all drivers, by number."""
        return self._study.get_trials(deepcopy=False)

    @available()
    def others_live(self) -> bool:
        """Whether another driver gives signs of life; takes DEAD_AFTER_S seconds where one gives none."""
        deadline = time.monotonic() + DEAD_AFTER_S
        first = self._others()
        if first:
            log.warning("another driver is known; whether it is alive is seen within %.0f s", DEAD_AFTER_S)
        while first and time.monotonic() < deadline:
            if self._others() != first:
                return True
            time.sleep(SIGN_EVERY_S / 10)
        return False

    def _others(self) -> dict[str, Any]:
        """The signs of life of the other drivers that have not ended."""
        mine, attributes = _SIGN + self.driver, self._study.user_attrs
        return {
            name.removeprefix(_SIGN): value
            for name, value in attributes.items()
            if name.startswith(_SIGN) and name != mine and value is not None
        }

    @available()
    def abandoned(self, trials: Collection[FrozenTrial]) -> list[FrozenTrial]:
        """Those of `trials` that have begun and not ended, and whose driver has ended or is dead."""
        now, signs = time.monotonic(), self._others()
        for driver, sign in signs.items():
            if self._signs.get(driver, (None,))[0] != sign:
                self._signs[driver] = sign, now
        dead = {driver for driver in signs if now - self._signs[driver][1] > DEAD_AFTER_S}
        alive = signs.keys() - dead | {self.driver}
        return [t for t in trials if not t.state.is_finished() and t.user_attrs.get(OWNER, self.driver) not in alive]

    @available()
    def take(self, trial: FrozenTrial, folder: str) -> None:
        """Make the trial this driver's, whose folder is `folder`. Under the lock."""
        storage = self._study._storage
        storage.set_trial_user_attr(trial._trial_id, OWNER, self.driver)
        storage.set_trial_user_attr(trial._trial_id, FOLDER, folder)

    @available()
    def exchange(self, number: int, row: Row, names: Collection[str]) -> list[tuple[int, Row]]:
        """Store a trial's row at a rung, as far as `names` has it; returns those of other drivers' trials."""
        trials = self.trials()
        kept = {name: row[name] for name in ("epoch", "status", *names)}
        if all(math.isfinite(value) for value in kept.values() if isinstance(value, float)):
            self._study._storage.set_trial_user_attr(trials[number]._trial_id, f"{_RUNG}{row['epoch']}", kept)
        others = [trial for trial in trials if not self.is_mine(trial)]
        return [(trial.number, found) for trial in others for found in rung_rows(trial.user_attrs)]


def rung_rows(attributes: Mapping[str, Any]) -> list[Row]:
    """The rows at rungs that a trial's user attributes hold."""
    return [value for name, value in attributes.items() if name.startswith(_RUNG)]
