"""What a sweep takes of the disk is told before it starts, and a sweep that cannot fit does not start."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.data import dataset_info
from codeq.execution.disk import check_disk, disk_use
from codeq.storage.machine_fault import MachineFault
from codeq.storage.trial_folder import trial_folder
from codeq.train.checkpoint_size import checkpoint_bytes
from codeq.train.loop import create_train_state, fit
from codeq.train.trial_run import save_epoch

SGD = {"type": "sgd", "param_groups": {"base": {"lr": 0.01, "momentum": 0.9}}}
ADAM = {"type": "adam", "param_groups": {"base": {"lr": 0.01, "amsgrad": True}}}


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    "changes",
    [{}, {"quantizer": None}, {"optimizer": SGD}, {"optimizer": ADAM}, {"model": "resnet20"}],
    ids=["adamw", "full precision", "sgd", "amsgrad", "resnet20"],
)
def test_the_size_of_a_checkpoint_is_known_to_a_tenth(
    tiny: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = RunConfig.model_validate({**tiny, "epochs": 1, "loss_terms": [], **changes})
    state, folder = create_train_state(config), trial_folder(UPath(tmp_path), 0)
    save_epoch(folder, state, next(fit(state)))
    info = dataset_info(config)
    assert info is not None
    assert checkpoint_bytes(config, info) == pytest.approx(folder.checkpoint.stat().st_size, rel=0.1)


def test_a_sweep_that_cannot_fit_is_refused_with_the_sizes(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template.load(
        write_yaml({**tiny, "seed": {"distribution": "int", "low": 0, "high": 99},
                    "sweep": {"trials": 100, "storage": str(tmp_path / "new" / "folder")}})
    )  # fmt: skip
    use = disk_use(template)
    assert use is not None and 100 * use.checkpoint < use.most < 150 * use.checkpoint + 2e7
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, use.most + 1))
    check_disk(template)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 5_000_000))
    with pytest.raises(MachineFault, match=r"too little room for this sweep; disk: at most .*, 5.0 MB free; a check"):
        check_disk(template)
