"""The samplers by themselves: what they draw from nested choices, and that a seed repeats it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest

from codeq.config import RunConfig, Template
from codeq.config.sweep import Search
from codeq.search.samplers import build_sampler, suggest
from codeq.search.study import directions, quiet_optuna
from tests.search.conftest import FINITE

SAMPLERS = get_args(Search.model_fields["sampler"].annotation)


def draw(template: Template, count: int) -> list[RunConfig]:
    quiet_optuna()
    study = optuna.create_study(directions=directions(template.sweep), sampler=build_sampler(template.sweep))
    configs = []
    for _ in range(count):
        trial = study.ask()
        configs.append(template.draw(lambda name, distribution, t=trial: suggest(t, name, distribution)))  # type: ignore[misc]
        study.tell(trial, [float(trial.number)] * len(template.sweep.objectives))
    return configs


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", [{"val_acc": "max"}, {"val_acc": "max", "rel_bops": "min"}])
def test_every_sampler_draws_valid_configs_from_nested_choices(
    nested: Callable[..., Template], sampler: str, objectives: dict[str, str]
) -> None:
    configs = draw(nested(search={"sampler": sampler, "startup_trials": 4}, objectives=objectives), 14)
    lrs = {round(config.optimizer.param_groups.base.lr, 6) for config in configs}
    assert lrs <= {0.1, 0.2, 0.3, 0.4, 0.5} and len(lrs) > 1
    assert {config.epochs for config in configs} <= {2, 5, 8}
    assert len({config.quantizer.name if config.quantizer else None for config in configs}) > 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_sampler_seed_draws_the_same_trials(nested: Callable[..., Template], sampler: str) -> None:
    def drawn(seed: int) -> list[RunConfig]:
        return draw(nested(search={"sampler": sampler, "startup_trials": 3, "seed": seed}), 6)

    assert drawn(0) == drawn(0) != drawn(1)


def test_the_grid_tries_every_combination_once(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> None:
    tiny["epochs"] = FINITE["epochs"]
    tiny["seed"] = {"distribution": "choice", "choices": [0, 1]}
    loaded = Template.load(write_yaml({**tiny, "sweep": {"name": "s", "search": {"sampler": "grid"}}}))
    configs = draw(loaded, 6)
    assert {(config.epochs, config.seed) for config in configs} == {(e, s) for e in (2, 5, 8) for s in (0, 1)}
