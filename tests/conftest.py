"""Shared fixtures: a tiny config that trains in a blink, and a runner of the command lines."""

from __future__ import annotations

import copy
import itertools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeq import plugins
from codeq.registry import REGISTRIES
from tests.postgresql import MISSING, PROGRAMS, PostgreSQL

ROOT = Path(__file__).resolve().parents[1]

TINY: dict[str, Any] = {
    "model": "mlp",
    "dataset": "digits",
    "val_fraction": 0.2,
    "epochs": 4,
    "batch_size": 128,
    "threads": 1,
    "device": "cpu",
    "quantizer": {"name": "deadzone", "kwargs": {"fixed_bit_val": 4, "learnable_bit": False}},
    "optimizer": {
        "type": "adamw",
        "param_groups": {"base": {"lr": 0.005}, "dz": {"lr": 0.005, "weight_decay": 5.0}},
    },
    "loss_terms": [{"name": "group_lasso", "lambda": 0.001, "kwargs": {"lambda_linear": 1.0, "lambda_conv": 1.0}}],
}


LONGEST = [f"tests/{name}.py" for name in ("test_tune_main", "test_interrupts", "test_confirm", "faults/test_faults")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first: `make test` gives a file to the next process that is free."""
    files = {item: item.nodeid.partition("::")[0] for item in items}
    items.sort(key=lambda item: LONGEST.index(files[item]) if files[item] in LONGEST else len(LONGEST))


@pytest.fixture
def tiny() -> dict[str, Any]:
    """A digits MLP of four epochs, as plain data to change at will."""
    return copy.deepcopy(TINY)


@pytest.fixture
def own_registry() -> Iterator[None]:
    """The test starts with the parts that ship and leaves its plug-ins to no other."""
    parts = {kind: registry.snapshot() for kind, registry in REGISTRIES.items()}
    yield
    plugins._loaded.clear()
    for kind, registry in REGISTRIES.items():
        registry.restore(parts[kind])


@pytest.fixture(autouse=True)
def no_log_of_a_command() -> Iterator[None]:
    """A command's `main` logs to the test's standard output, which is closed when the test has ended."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Returns the URL of a new, empty database on a PostgreSQL server, or skips the test where there is none."""
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
    if not PROGRAMS:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="cq"))
    names = itertools.count()
    with PostgreSQL(folder / "postgresql", "secret") as port:

        def new() -> str:
            name = f"codeq{next(names)}"
            host = str(folder / "postgresql")
            with psycopg.connect(host=host, port=port, user="postgres", autocommit=True) as server:
                server.execute(f"create database {name} owner codeq")
            return f"postgresql://codeq:secret@127.0.0.1:{port}/{name}"

        yield new
    shutil.rmtree(folder)


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[..., Path]:
    """Writes data as YAML into the test's folder and returns the path."""

    def write(data: dict[str, Any], name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return write


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs this Python on arguments, from the repository's root, without W&B keys of whoever runs the tests."""

    def run(*arguments: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**clean, "NETRC": os.devnull, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
