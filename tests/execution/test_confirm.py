"""What a confirmation hands to Tune and leaves on disk before it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import RunConfig, Template
from codeq.execution.confirm import ListSearcher, _prepared
from codeq.execution.session import RunOptions, Session
from codeq.search.sweep_state import SweepState, open_sweep
from codeq.storage.trial_folder import TrialRecord, confirm_folder, trial_folder


@pytest.fixture
def prepare(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Prepares trial 3 with seed 5 for Tune, on machines of the given device."""
    template = Template.load(write_yaml({**tiny, "sweep": {"name": "s", "storage": str(tmp_path)}}))
    with open_sweep(template, resume=False) as state:
        trial_folder(state.folder, 3).write_config(RunConfig.model_validate(tiny))

    def prepare(device: str | None = None) -> dict[str, Any]:
        session = Session(template, RunOptions())
        session.device, session.images = device, {RunConfig.model_validate(tiny).images_key: "a reference"}
        return _prepared(_state(template), session, 3, 5)

    return prepare


def _state(template: Template) -> SweepState:
    with open_sweep(template, resume=True) as state:
        return state


def test_a_run_is_the_trials_config_with_another_seed_in_a_folder_of_its_own(
    prepare: Callable[..., dict[str, Any]], tiny: dict[str, Any], tmp_path: Path
) -> None:
    proposed = prepare("cpu")
    folder = confirm_folder(UPath(tmp_path / "s"), 3, 5)
    assert proposed["folder"] == str(folder.path)
    assert (proposed["trial"], proposed["place"]["device"]) == (3, "cpu")
    assert proposed["images"] == "a reference"
    assert folder.read_config() == RunConfig.model_validate({**tiny, "seed": 5})
    record = folder.read_record()
    assert record is not None and (record.trial, record.seed, record.status) == (3, 5, "running")


def test_a_damaged_config_of_a_run_is_written_again(prepare: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    prepare()
    path = tmp_path / "s" / "confirm" / "0003_seed5" / "config.yaml"
    before = path.read_bytes()
    path.write_bytes(b"")
    prepare()
    assert path.read_bytes() == before


def test_what_a_killed_confirmation_left_is_not_begun_anew(
    prepare: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    prepare()
    folder = confirm_folder(UPath(tmp_path / "s"), 3, 5)
    known = folder.read_record()
    assert known is not None
    folder.write_record(replace(known, duration_s=12.0))
    prepare()
    assert folder.read_record() == TrialRecord(3, known.run_name, 5, duration_s=12.0)


def test_given_trials_are_proposed_once_each_in_their_order() -> None:
    searcher = ListSearcher([{"trial": 2}, {"trial": 1}])
    assert [searcher.suggest(name) for name in "abc"] == [{"trial": 2}, {"trial": 1}, None]
