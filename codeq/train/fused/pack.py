"""The runs of one process: which of them train together, and what becomes of each when something goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from codeq.config.run import RunConfig
from codeq.config.text import first_line
from codeq.data import DataSplits, RawImages, load_data
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialFolder
from codeq.train.checkpoint import rng_state, set_rng_state
from codeq.train.device import is_device_lost, prepare_device
from codeq.train.fused.epoch import train_together
from codeq.train.fused.journal import Journal
from codeq.train.fused.probe import FusionPlan, choose_runs
from codeq.train.fused.shape import fusion_key
from codeq.train.loop import EpochMetrics, TrainState, fit
from codeq.train.trial_run import ended_row, failed_row, open_run, save_epoch, test_accuracy

log = logging.getLogger(__name__)

_OF_THE_DATA = ("images_key", "img_size", "val_fraction", "augment", "batch_size", "device")
"""The keys of a config on which `load_data` depends, but for the workers of image files, which each run opens anew."""


@dataclass
class Member:
    """One run in the pack. built: None until it is. row: its last one. rng: PyTorch's generators, its own."""

    number: int
    folder: TrialFolder
    config: RunConfig
    built: TrainState | None = None
    row: Row = field(default_factory=lambda: dict(EMPTY_METRICS))
    rng: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def shape(self) -> str:
        return fusion_key(self.config)

    @property
    def state(self) -> TrainState:
        """The run. Raises ValueError before it is built."""
        if self.built is None:
            raise ValueError(f"trial {self.number} is not built yet")
        return self.built


class Pack:
    """Trains members one epoch at a time, those of one shape together, as many at once as pays.

    A member that raises becomes a failed row, and so do the members that were training when the process died more
    than `max_failures` times: a journal on this machine remembers them from one process to the next. After its first
    death a member trains alone, so that it takes no other along.
    """

    def __init__(
        self,
        *,
        fuse: int | None,
        grace_epochs: int,
        max_failures: int,
        journal: Path,
        raw: Callable[[RunConfig], RawImages | None] = lambda config: None,
    ) -> None:
        """fuse: runs to train together, None: as many as pays. raw: a config's images, if they are at hand."""
        self._fuse, self._grace_epochs, self._max_failures = fuse, grace_epochs, max_failures
        self._journal = Journal(journal)
        self._raw = raw
        self._data: dict[tuple[Any, ...], DataSplits] = {}
        self._plans: dict[tuple[str, str], FusionPlan] = {}

    @property
    def plans(self) -> Mapping[tuple[str, str], FusionPlan]:
        """How many runs of each model and shape are trained together."""
        return self._plans

    def train_epoch(self, members: Sequence[Member]) -> Iterator[tuple[int, Row]]:
        """Train each member one epoch further: (number, row) of each as soon as it is there, its files written."""
        self._journal.begin([member.number for member in members])
        ready = []
        for member in members:
            row = self._open(member)
            if row is None:
                ready.append(member)
            else:
                yield member.number, row
        for part in self._parts(ready):
            yield from self._train(part)
        self._journal.end()

    def test_accuracy(self, folder: TrialFolder) -> float:
        """See `codeq.train.trial_run.test_accuracy`. Not while an epoch is under way."""
        return test_accuracy(folder, self._data_of(folder.read_config()))

    def _open(self, member: Member) -> Row | None:
        """Build the member, if it is new; a row if it has ended already or cannot be built."""
        if member.built is not None:
            return None
        crash_count = self._journal.crash_count(member.number)
        if crash_count > self._max_failures:
            times = "" if crash_count == 1 else f" {crash_count} times"
            return {**member.row, "status": "failed", "reason": f"its process died{times}"}
        try:
            member.built = open_run(member.folder, member.config, self._data_of(member.config))
            member.rng = rng_state(member.built.device)
            return ended_row(member.folder)
        except Exception as error:
            return failed_row(member.folder, member.row, error)

    def _data_of(self, config: RunConfig) -> DataSplits:
        """The config's data, of which the process holds one copy for all runs that read the same."""
        key = tuple(getattr(config, name) for name in _OF_THE_DATA)
        if key not in self._data or not self._data[key].train.is_resident:
            device = prepare_device(config.device, config.threads)
            self._data[key] = load_data(config, device, self._raw(config))
        return self._data[key].with_seed(config.seed)

    def _parts(self, members: Sequence[Member]) -> Iterator[list[Member]]:
        """The members by shape, in parts of one size as nearly as can be, none larger than pays."""
        by_shape: dict[str, list[Member]] = {}
        for member in members:
            alone = f" {member.number}" if self._journal.crash_count(member.number) else ""
            by_shape.setdefault(member.shape + alone, []).append(member)
        for group in by_shape.values():
            plan = self._plan(group[0])
            parts = -(-len(group) // plan.runs) if plan.is_faster(len(group)) else len(group)
            yield from (group[part::parts] for part in range(parts))

    def _plan(self, member: Member) -> FusionPlan:
        key = (str(member.config.model), member.shape)
        if key not in self._plans:
            self._plans[key] = self._make_plan(member)
            log.info("%d runs of %s train together: %s", self._plans[key].runs, key[0], self._plans[key].reason)
        return self._plans[key]

    def _make_plan(self, member: Member) -> FusionPlan:
        if self._fuse == 1:
            return FusionPlan(1, "as configured")
        if not member.state.data.train.is_resident:
            return FusionPlan(1, "its images are read from files")
        return choose_runs(member.state, self._fuse)

    def _train(self, part: list[Member]) -> list[tuple[int, Row]]:
        prepare_device(part[0].config.device, part[0].config.threads)  # of one shape, so the same for all
        if len(part) == 1:
            return [(part[0].number, self._train_alone(part[0]))]
        try:
            rows = train_together([member.state for member in part], self._grace_epochs)
        except Exception as error:  # what is wrong with one of them shows when it trains alone
            if is_device_lost(error):
                raise
            half = len(part) // 2
            reason = first_line(error)
            plan = FusionPlan(half, f"{len(part)} together failed: {reason}")
            self._plans[str(part[0].config.model), part[0].shape] = plan
            log.warning("%d runs together failed, going on with %d: %s", len(part), half, reason)
            if part[0].state.device.type == "cuda":
                torch.cuda.empty_cache()
            return self._train(part[:half]) + self._train(part[half:])
        return [(member.number, _save(member, row)) for member, row in zip(part, rows, strict=True)]

    def _train_alone(self, member: Member) -> Row:
        try:
            set_rng_state(member.rng, member.state.device)
            row = next(fit(member.state, self._grace_epochs))
            member.rng = rng_state(member.state.device)
        except Exception as error:
            return failed_row(member.folder, member.row, error)
        return _save(member, row)


def _save(member: Member, row: EpochMetrics) -> Row:
    try:
        set_rng_state(member.rng, member.state.device)  # the checkpoint holds it
        member.row = save_epoch(member.folder, member.state, row)
        return member.row
    except Exception as error:
        return failed_row(member.folder, member.row, error)
