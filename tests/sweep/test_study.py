"""The study: what samplers propose, what the storage keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from codeq.config import RunConfig, Template
from codeq.sweep.study import build_sampler, open_study, study_url, suggest

SAMPLERS = ["tpe", "nsga2", "gp", "random", "grid"]
FINITE = {
    "lr": {"distribution": "uniform", "low": 0.1, "high": 0.5, "step": 0.1},
    "epochs": {"distribution": "int", "low": 2, "high": 8, "step": 3},
}


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Callable[..., Template]:
    def load(**sweep: Any) -> Template:
        tiny["optimizer"]["param_groups"]["base"]["lr"] = FINITE["lr"]
        tiny["epochs"] = FINITE["epochs"]
        tiny["quantizer"] = {
            "distribution": "choice",
            "choices": [
                {"name": "deadzone", "kwargs": {"max_bits": {"distribution": "int", "low": 4, "high": 8}}},
                {"name": "uniform"},
                None,
            ],
        }
        return Template.load(write_yaml({**tiny, "sweep": {"name": "s", **sweep}}))

    return load


def draw(template: Template, study: Any, count: int) -> list[RunConfig]:
    configs = []
    for _ in range(count):
        trial = study.ask()
        configs.append(template.draw(lambda name, distribution, t=trial: suggest(t, name, distribution)))
        study.tell(trial, [float(trial.number)] * len(template.sweep.objectives))
    return configs


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", [{"val_acc": "max"}, {"val_acc": "max", "rel_bops": "min"}])
def test_every_sampler_draws_valid_configs_from_nested_choices(
    template: Callable[..., Template], tmp_path: Path, sampler: str, objectives: dict[str, str]
) -> None:
    loaded = template(search={"sampler": sampler, "startup_trials": 4}, objectives=objectives)
    configs = draw(loaded, open_study(loaded.sweep, tmp_path), 14)
    lrs = {round(config.optimizer.param_groups.base.lr, 6) for config in configs}
    assert lrs <= {0.1, 0.2, 0.3, 0.4, 0.5} and len(lrs) > 1
    assert {config.epochs for config in configs} <= {2, 5, 8}
    assert len({config.quantizer.name if config.quantizer else None for config in configs}) > 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_sampler_seed_draws_the_same_trials(
    template: Callable[..., Template], tmp_path: Path, sampler: str
) -> None:
    def drawn(folder: str, seed: int) -> list[RunConfig]:
        loaded = template(search={"sampler": sampler, "startup_trials": 3, "seed": seed})
        (tmp_path / folder).mkdir()
        return draw(loaded, open_study(loaded.sweep, tmp_path / folder), 6)

    assert drawn("a", 0) == drawn("b", 0) != drawn("c", 1)


def test_the_grid_tries_every_combination_once(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    tiny["epochs"] = FINITE["epochs"]
    tiny["seed"] = {"distribution": "choice", "choices": [0, 1]}
    loaded = Template.load(write_yaml({**tiny, "sweep": {"name": "s", "search": {"sampler": "grid"}}}))
    assert loaded.sweep.trials == 6
    configs = draw(loaded, open_study(loaded.sweep, tmp_path), 6)
    assert {(config.epochs, config.seed) for config in configs} == {(e, s) for e in (2, 5, 8) for s in (0, 1)}


def test_configs_to_try_first_come_first_and_only_once(template: Callable[..., Template], tmp_path: Path) -> None:
    first = {"optimizer.param_groups.base.lr": 0.3, "epochs": 8, "quantizer": "name=uniform"}
    loaded = template(enqueue=[first])
    (config,) = draw(loaded, open_study(loaded.sweep, tmp_path), 1)
    assert config.optimizer.param_groups.base.lr == pytest.approx(0.3)
    assert config.epochs == 8
    assert config.quantizer is not None and config.quantizer.name == "uniform"
    again = open_study(loaded.sweep, tmp_path)
    assert len(again.trials) == 1


def test_the_study_knows_its_directions_and_the_names_of_its_objectives(
    template: Callable[..., Template], tmp_path: Path
) -> None:
    loaded = template(objectives={"val_acc": "max", "rel_bops": "min"})
    study = open_study(loaded.sweep, tmp_path)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["val_acc", "rel_bops"]
    assert sqlite3.connect(tmp_path / "study.db").execute("select study_name from studies").fetchall() == [("s",)]


def test_a_storage_url_of_the_users_is_used_as_it_is(template: Callable[..., Template], tmp_path: Path) -> None:
    loaded = template(study=f"sqlite:///{tmp_path}/other.db")
    open_study(loaded.sweep, tmp_path)
    assert (tmp_path / "other.db").exists() and not (tmp_path / "study.db").exists()


def _open(path: str, folder: str) -> int:
    loaded = Template.load(path)
    return len(open_study(loaded.sweep, Path(folder)).trials)


def test_processes_that_open_a_fresh_study_at_once_do_not_crash_each_other(
    template: Callable[..., Template], tmp_path: Path
) -> None:
    loaded = template()
    with get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_open, [(str(loaded.source), str(tmp_path))] * 6)
    assert found == [0] * 6


def test_samplers_in_the_schema_are_the_ones_built(template: Callable[..., Template]) -> None:
    for sampler in SAMPLERS:
        assert build_sampler(template(search={"sampler": sampler}).sweep.search) is not None
    assert study_url(template().sweep, Path("/tmp/x")) == "sqlite:////tmp/x/study.db"
