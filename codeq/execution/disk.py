"""How much disk a sweep takes, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from codeq.config import Template
from codeq.execution.capacity import usable_cpus
from codeq.storage.atomic_files import is_local
from codeq.storage.disk_space import format_size, free_bytes
from codeq.storage.machine_fault import MachineFault

BYTES_PER_TRIAL = 20_000
"""Config, record, and the trial's share of the study and the report."""
BYTES_PER_EPOCH = 1_200
"""A row in metrics.jsonl and TensorBoard's events."""
REPORT_BYTES = 6_000_000
PLENTY_PER_TRIAL = 500_000_000
"""Nothing is computed where so much is free for each trial: it needs torch, which takes seconds to import."""


@dataclass(frozen=True)
class DiskUse:
    """Sizes in bytes. checkpoint: the largest of any trial. most: at the sweep's end, if no trial is stopped. free: on
    the disk of the storage, None behind a URL."""

    checkpoint: int
    most: int
    free: int | None

    def __str__(self) -> str:
        free = "" if self.free is None else f", {format_size(self.free)} free"
        return f"disk: at most {format_size(self.most)}{free}; a checkpoint has {format_size(self.checkpoint)}"


def disk_use(template: Template) -> DiskUse | None:
    """Return what the sweep will take; None if a plug-in's data set has to be loaded to know.

    While it runs, every finished trial keeps a checkpoint and every running one two (with `keep_checkpoints: all`, also
    every stopped one). Raises ValueError for a network that cannot be built.
    """
    from codeq.data import dataset_info  # torch
    from codeq.train.checkpoint_size import checkpoint_bytes

    largest = 0
    networks = {(str(config.model), str(config.quantizer)): config for config in template.boundary_configs}
    for config in networks.values():
        info = dataset_info(config)
        if info is None:
            return None
        largest = max(largest, checkpoint_bytes(config, info))
    trials, sweep = int(template.sweep.trials or 1), template.sweep
    running = min(trials, sweep.max_concurrent or usable_cpus())
    confirmed = sweep.confirm.top * sweep.confirm.seeds if sweep.confirm else 0
    each = BYTES_PER_TRIAL + BYTES_PER_EPOCH * template.max_epochs
    most = (trials + running + confirmed) * largest + (trials + confirmed) * each + REPORT_BYTES
    return DiskUse(largest, most, _free(template))


def check_disk(template: Template) -> None:
    """Raise MachineFault if the storage has not enough room for the whole sweep."""
    free = _free(template)
    if free is None or free > int(template.sweep.trials or 1) * PLENTY_PER_TRIAL:
        return
    use = disk_use(template)
    if use is not None and use.most > free:
        more = "make room, name another --storage, or ask for fewer trials"
        raise MachineFault(f"{template.sweep.storage}: too little room for this sweep; {use}; {more}")


def _free(template: Template) -> int | None:
    """The free bytes of the disk that holds the storage; None behind a URL."""
    storage = UPath(template.sweep.storage)
    return free_bytes(Path(str(storage))) if is_local(storage) else None
