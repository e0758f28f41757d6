"""Runs that can train together, and the same runs alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from codeq.config import RunConfig
from codeq.train.loop import TrainState, create_train_state

Changes = dict[str, Any]


def changed(config: dict[str, Any], changes: Changes) -> RunConfig:
    """`config` with values replaced by dotted path."""
    data = copy.deepcopy(config)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = data
        for key in parents:
            section = section[int(key)] if isinstance(section, list) else section[key]
        section[last] = copy.deepcopy(value)
    return RunConfig.model_validate(data)


@pytest.fixture
def runs(tiny: dict[str, Any]) -> Callable[..., list[TrainState]]:
    """Builds one run per item of `each`, all with `common`, on one copy of the data; `steps` a training epoch."""

    def build_all(each: Sequence[Changes], common: Changes | None = None, steps: int = 20) -> list[TrainState]:
        configs = [changed(tiny, {**(common or {}), **changes}) for changes in each]
        data = create_train_state(configs[0]).data.first(steps)
        return [create_train_state(config, data.with_seed(config.seed)) for config in configs]

    return build_all
