"""What trials occupy, and when they train together, from the template and what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeq.config import Template
from codeq.config.resources import CPU_TRIALS, room_for_trials, trains_together

Load = Callable[..., Template]


@pytest.fixture
def load(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Load:
    """A template with these resources."""

    def loaded(resources: dict[str, Any], **changes: Any) -> Template:
        return Template.load(write_yaml({**tiny, **changes, "sweep": {"resources": resources}}))

    return loaded


@pytest.mark.parametrize(
    ("fuse", "gpus", "trials", "expected"),
    [
        ("auto", 0, CPU_TRIALS - 1, False),
        ("auto", 0, CPU_TRIALS, True),
        ("auto", 0.25, 4, True),
        (1, 1.0, 1000, False),
        (2, 0, 4, True),
    ],
)
def test_packs_train_on_gpus_in_long_sweeps_and_where_they_are_asked_for(
    load: Load, fuse: Any, gpus: float, trials: int, expected: bool
) -> None:
    template = load({"fuse": fuse})
    assert trains_together(template, gpus, trials) is expected


def test_compiled_models_do_not_share_a_process(load: Load) -> None:
    assert not trains_together(load({"fuse": 8}, use_compile=1), gpus=1, trials=1000)


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpu", "gpu", "trials"),
    [
        (2, 0, 1.0, 0.0, 2),
        (2, 0, 0.1, 0.0, 20),
        (2.1, 0, 0.3, 0.0, 7),
        (2, 0, 1.5, 0.0, 1),
        (2, 0, 3.0, 0.0, 0),
        (2, 0, 1.0, 1.0, 0),
        (64, 8, 1.0, 1.0, 8),
        (64, 8, 16.0, 1.0, 4),
        (64, 8, 1.0, 3.0, 2),
        (64, 8, 1.0, 0.1, 64),
        (64, 4, 1.0, 0.6, 4),  # two of them do not share a GPU
        (64, 3, 1.0, 1 / 3, 9),
    ],
)
def test_room_for_trials(cpus: float, gpus: float, cpu: float, gpu: float, trials: int) -> None:
    assert room_for_trials(cpu, gpu, cpus, gpus) == trials
