"""What trials occupy, and when they train together, from the template and what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeq.config import Template
from codeq.config.resources import CPU_TRIALS, trains_together

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
