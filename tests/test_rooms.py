"""The rooms of the package import one way only, and the light ones stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {
    "config": set(),
    "storage": {"config"},
    "quant": {"config"},
    "models": {"config"},
    "data": {"config", "storage"},
    "train": {"config", "storage", "quant", "models", "data"},
    "search": {"config", "storage"},
    "results": {"config", "storage", "search", "train"},
    "execution": {"config", "storage", "quant", "models", "data", "train", "search"},
}
FORBIDDEN_LIBRARIES = {
    "config": {"torch", "ray", "optuna", "numpy"},
    "storage": {"torch", "ray", "optuna", "numpy"},
    "quant": {"ray", "optuna"},
    "models": {"ray", "optuna"},
    "data": {"ray", "optuna"},
    "train": {"ray", "optuna"},
    "search": {"ray", "torch"},
    "results": {"ray", "optuna"},
    "execution": {"torch"},
    "registry": {"torch", "ray", "optuna", "numpy"},
    "plugins": {"torch", "ray", "optuna", "numpy"},
}
FILES = sorted((ROOT / "codeq").rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
            assert node.level == 0, f"{path}: relative import"
    return modules


def room(path: Path) -> str:
    return path.relative_to(ROOT / "codeq").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    own = room(path)
    for module in imported_modules(path):
        if module.startswith("codeq.") and own in MAY_IMPORT and module.split(".")[1] in MAY_IMPORT:
            other = module.split(".")[1]
            assert other == own or other in MAY_IMPORT[own], f"{own} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_does_not_know_libraries_below_it(path: Path) -> None:
    known = {module.split(".")[0] for module in imported_modules(path)}
    assert not known & FORBIDDEN_LIBRARIES.get(room(path), set())


def test_importing_the_search_loads_neither_ray_nor_torch() -> None:
    modules = [f"codeq.search.{path.stem}" for path in (ROOT / "codeq" / "search").glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; print({{'ray', 'torch'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {path.name for path in (ROOT / "codeq").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(MAY_IMPORT)
