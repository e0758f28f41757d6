"""A library that is not installed is one line before anything starts."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import tune_main
from codeq.config import Template, libraries
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
    lacks("optuna_dashboard", "wandb", "opentelemetry.exporter.prometheus")
    libraries.check_libraries(Template.load(write_yaml(tiny)), sweep=True)


KEY = "0" * 40
COPY = "copy the key again from https://wandb.ai/authorize, or leave it out for no W&B"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (f"# key\nWANDB_API_KEY=caf\xe9{KEY}\n".encode("latin-1"),
         f".env:2: WANDB_API_KEY: holds a character that no key has; {COPY}"),
        (f"WANDB_API_KEY=caf\xe9{KEY}\n".encode("utf-16"),
         f".env:1: WANDB_API_KEY: holds a character that no key has; {COPY}"),
        (b"WANDB_API_KEY=abc\n", f".env:1: WANDB_API_KEY: has 3 characters, must have 40 or more; {COPY}"),
        (b"WANDB_API_KEY=local-abc\n", f".env:1: WANDB_API_KEY: has 9 characters, must have 40 or more; {COPY}"),
        (b"WANDB_MODE=ofline\n", ".env:1: WANDB_MODE: is 'ofline', must be one of online, offline, disabled; did you "
         "mean offline?"),
        (b"WANDB_BASE_URL=wandb.example.com\n",
         ".env:1: WANDB_BASE_URL: is 'wandb.example.com', must begin with https:// or http://"),
    ],
)  # fmt: skip
def test_a_variable_that_wandb_would_refuse_ends_a_run_before_it_starts(
    content: bytes, line: str, tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = write_yaml({"wandb_project": "project", **tiny, "epochs": 1})
    (tmp_path / ".env").write_bytes(content)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for main in (tune_main.main, train_main):
        with mock.patch.dict(os.environ):
            assert main([str(path)]) == BAD_INPUT
        assert capsys.readouterr().err == f"{line}\n"
    assert not (tmp_path / "results").exists() and not (tmp_path / "save_temp").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"WANDB_API_KEY": KEY},
        {"WANDB_API_KEY": f"local-{KEY}"},
        {"WANDB_API_KEY": "wandb_v1_" + KEY},
        {"WANDB_API_KEY": "header.pay-load.signature"},
        {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://localhost:8080"},
        {"WANDB_API_KEY": "abc", "WANDB_MODE": "offline"},
        {"WANDB_API_KEY": "abc", "WANDB_MODE": "disabled"},
        {"WANDB_MODE": ""},
    ],
)
def test_what_wandb_takes_or_does_not_need_is_no_problem(
    given: dict[str, str], tiny: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    libraries.check_libraries(Template.load(write_yaml({"wandb_project": "project", **tiny})), sweep=True)


def test_wandbs_variables_do_not_matter_where_it_is_not_asked_for(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "caf\udce9")
    libraries.check_libraries(Template.load(write_yaml(tiny)), sweep=True)
