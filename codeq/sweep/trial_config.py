"""What Tune hands to a trial, `SweepTrial` or `FusedTrial`: plain data that says which run to train and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from codeq.config import RunConfig, SweepConfig
from codeq.train.trial_folder import TrialFolder


def trial_config(
    folder: TrialFolder,
    number: int,
    config: RunConfig,
    sweep: SweepConfig,
    *,
    device: str | None = None,
    images: Mapping[tuple[str, str], Any] | None = None,
    pack: str | None = None,
) -> dict[str, Any]:
    """The trial's config for Tune.

    device: where it runs whatever `config` says; None: as it says. images: references to data sets' raw images in
    Ray's object store, by (dataset, data_dir). pack: the name of the one that trains it.
    """
    # A relative folder is relative to where the user stands, not to where Tune runs the trial.
    data_dir = str(Path(config.data_dir).absolute())
    placed = {"data_dir": data_dir} if device is None else {"data_dir": data_dir, "device": device}
    return {
        "trial": number,
        "folder": str(folder.path),
        "images": (images or {}).get((config.dataset, data_dir)),
        "pack": pack,
        "run_config": {**config.as_dict(), **placed},
        "grace_epochs": sweep.scheduler.grace_epochs,
    }


def folder_name(config: dict[str, Any]) -> str:
    """What tables and dashboards call the trial: `0003`, or `0003_seed1` with a fresh seed."""
    return PurePosixPath(config["folder"]).name
