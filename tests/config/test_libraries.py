"""A library that is not installed is one line before anything starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tune_main
from codeq.config import libraries
from codeq.config.exit_codes import BAD_INPUT
from codeq.train.__main__ import main as train_main

ALL = ("tensorboard", "optuna_dashboard", "wandb", "opentelemetry.exporter.prometheus")


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes modules seem not to be installed."""

    def lack(*modules: str) -> None:
        installed = importlib.util.find_spec
        monkeypatch.setattr(libraries, "find_spec", lambda name: None if name in modules else installed(name))

    return lack


def test_a_sweep_names_each_missing_library_and_how_to_install_it(
    lacks: Callable[..., None], tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lacks(*ALL)
    path = write_yaml({"wandb_project": "project", **tiny})
    assert tune_main.main([str(path), "--dashboard", "--storage", str(tmp_path / "results")]) == BAD_INPUT
    assert capsys.readouterr().err.splitlines() == [
        "a sweep: needs tensorboard, which is not installed; pip install tensorboard",
        "--dashboard: needs ray[default], which is not installed; pip install 'ray[default]'",
        "--dashboard: needs optuna-dashboard, which is not installed; pip install optuna-dashboard",
        f"{path}:1: wandb_project: needs wandb, which is not installed; pip install wandb",
    ]
    assert not (tmp_path / "results").exists()


def test_a_single_run_needs_only_what_it_uses(
    lacks: Callable[..., None], tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lacks(*ALL)
    path = write_yaml({**tiny, "wandb_project": "project"})
    assert train_main([str(path), "--set", f"save_dir={tmp_path / 'save'}"]) == BAD_INPUT
    assert "wandb_project: needs wandb, which is not installed; pip install wandb" in capsys.readouterr().err
    assert not (tmp_path / "save").exists()
    assert train_main([str(write_yaml({**tiny, "epochs": 1})), "--set", f"save_dir={tmp_path / 'save'}"]) == 0


def test_what_is_not_asked_for_need_not_be_installed(
    lacks: Callable[..., None], tiny: dict[str, Any], write_yaml: Callable[..., Path]
) -> None:
    from codeq.config import Template

    lacks("optuna_dashboard", "wandb", "opentelemetry.exporter.prometheus")
    libraries.check_libraries(Template.load(write_yaml(tiny)), sweep=True)
