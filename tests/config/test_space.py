"""`python -m codeq.config space FILE`: a hand-written config becomes a sweep around its values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import tune_main
from codeq.config import ConfigError, Template
from codeq.config.__main__ import main
from codeq.config.space import space_text
from tests.conftest import ROOT


def is_plain(path: Path) -> bool:
    return "distribution" not in path.read_text()


PLAIN = sorted(filter(is_plain, (ROOT / "sweeps").glob("*.yaml")))


def test_plain_files_ship() -> None:
    assert len(PLAIN) >= 4


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_every_plain_file_that_ships_becomes_a_sweep_that_passes_a_dry_run(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep.yaml"
    assert main(["space", str(path), "--out", str(out)]) == 0
    assert tune_main.main([str(out), "--dry-run"]) == 0
    assert "1 enqueued config first" in capsys.readouterr().out
    given, template = Template.load(path).run_config(), Template.load(out)
    assert template.max_epochs == given.epochs
    first = {**template.sweep.enqueue[0]}
    tried = template.draw(lambda name, distribution: first.get(name, distribution.bounds()["low"]))
    assert tried.optimizer.param_groups.base == given.optimizer.param_groups.base
    assert (tried.model, tried.dataset, tried.batch_size) == (given.model, given.dataset, given.batch_size)


def test_the_values_that_decide_are_searched_around_the_given_ones(
    tiny: dict[str, Any], write_yaml: Callable[..., Path]
) -> None:
    tiny["quantizer"]["kwargs"] = {"learnable_bit": True, "init_bit_logit": 2.0}
    tiny["epochs"] = 60
    text = space_text(write_yaml(tiny, "my config.yaml"))
    data = yaml.safe_load(text)
    groups = data["optimizer"]["param_groups"]
    assert data["quantizer"]["kwargs"]["init_bit_logit"] == {"distribution": "uniform", "low": 1.0, "high": 3.0}
    assert groups["base"]["lr"] == {"distribution": "loguniform", "low": 0.001, "high": 0.025}
    assert groups["base"]["weight_decay"] == 0.0
    assert groups["dz"]["weight_decay"] == {"distribution": "loguniform", "low": 0.5, "high": 50.0}
    assert groups["bit"]["lr"] == {"distribution": "loguniform", "low": 0.0005, "high": 0.05}  # the file has none
    assert data["loss_terms"][0]["lambda"] == {"distribution": "loguniform", "low": 1e-5, "high": 0.003}
    assert data["sweep"]["name"] == "my_config_sweep"
    assert data["sweep"]["objectives"] == {"val_acc": "max", "rel_bops": "min"}
    assert data["sweep"]["scheduler"]["grace_epochs"] == 3
    assert data["sweep"]["trials"] == 10 + 6 * 8
    lines = text.splitlines()
    ranges = [index for index, line in enumerate(lines) if ": {distribution: " in line]
    assert len(ranges) == 8 and all(lines[index - 1].lstrip().startswith("# ") for index in ranges)


@pytest.mark.parametrize(
    ("quantizer", "objectives"),
    [
        (None, {"val_acc": "max"}),
        ({"name": "uniform", "kwargs": {"bitwidth": 4}}, {"val_acc": "max"}),
        ({"name": "deadzone", "kwargs": {"learnable_bit": False}}, {"val_acc": "max", "sparsity": "max"}),
    ],
)
def test_what_a_quantizer_does_not_learn_is_no_objective(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], quantizer: Any, objectives: dict[str, str]
) -> None:
    tiny["quantizer"] = quantizer
    if quantizer is None or quantizer["name"] == "uniform":
        del tiny["optimizer"]["param_groups"]["dz"]
    assert yaml.safe_load(space_text(write_yaml(tiny)))["sweep"]["objectives"] == objectives


def test_a_file_that_is_a_sweep_already_is_refused_with_its_lines(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny["batch_size"] = {"distribution": "int", "low": 1, "high": 9}
    path = write_yaml(tiny)
    with pytest.raises(ConfigError):
        space_text(path)
    assert main(["space", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}:5: batch_size: is a distribution (int [1, 9])")


def test_a_file_that_exists_is_not_replaced(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_yaml(tiny)
    before = path.read_text()
    assert main(["space", str(path), "--out", str(path)]) == 2
    assert capsys.readouterr().err == f"--out: {path}: File exists\n"
    assert path.read_text() == before
