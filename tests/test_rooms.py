"""The rooms of the package import one way only, and the light ones stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "config": {"registry", "plugins"},
    "registry": {"config", "kwargs_schema", "builtin_parts"},
    "kwargs_schema": {"config"},
    "plugins": {"config", "registry"},
    "builtin_parts": {"config", "plugins", "quant", "models", "data", "train"},
    "storage": {"config"},
    "quant": {"config", "registry"},
    "models": {"config", "registry"},
    "data": {"config", "storage", "registry"},
    "train": {"config", "storage", "quant", "models", "data", "registry", "plugins"},
    "search": {"config", "storage", "plugins"},
    "results": {"config", "storage", "search", "train", "plugins"},
    "execution": {"config", "storage", "quant", "models", "data", "train", "search", "registry", "plugins"},
}
LIBRARIES: dict[str, set[str]] = {
    "__init__": set(),
    "config": {"dotenv", "pydantic", "pydantic_core", "yaml"},
    "storage": {"filelock", "pydantic", "upath"},
    "quant": {"torch"},
    "models": {"timm", "torch"},
    "data": {"PIL", "filelock", "joblib", "numpy", "torch", "torchvision"},
    "train": {"torch", "upath", "wandb"},
    "search": {"filelock", "moocore", "numpy", "optuna", "sqlalchemy", "upath"},
    "results": {"jinja2", "markupsafe", "moocore", "numpy", "plotly", "rich", "upath"},
    "registry": set(),
    "kwargs_schema": {"pydantic"},
    "plugins": {"upath"},
    "builtin_parts": {"pydantic", "torch"},
    "execution": {
        "botocore", "joblib", "jsonschema", "optuna", "optuna_dashboard", "ray", "rich", "tensorboard", "upath", "yaml",
    },  # fmt: skip
}
"""The libraries that each room may import, besides the standard library."""

EXCEPTIONS = {"execution/forecast.py": {"torch"}}
"""Files that import a library which the rest of their room must not."""

HEAVY = {"ray", "torch", "optuna", "numpy"}
"""Libraries that take a second or more to import, or load one that does: reading and checking a template needs none."""

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


def libraries(path: Path) -> set[str]:
    """The libraries that a file imports, anywhere in it."""
    names = {module.split(".")[0] for module in imported_modules(path)}
    return names - sys.stdlib_module_names - {"codeq"}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "codeq").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    own = room(path)
    for module in imported_modules(path):
        other = module.split(".")[1] if module.startswith("codeq.") else own
        if other != "__version__":
            assert other == own or other in MAY_IMPORT[own], f"{own} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_the_libraries_that_it_may(path: Path) -> None:
    allowed = LIBRARIES[room(path)] | EXCEPTIONS.get(str(path.relative_to(ROOT / "codeq")), set())
    assert libraries(path) <= allowed


def test_no_room_may_import_a_library_that_none_of_its_files_does() -> None:
    used: dict[str, set[str]] = {name: set() for name in LIBRARIES}
    for path in FILES:
        used[room(path)] |= libraries(path) - EXCEPTIONS.get(str(path.relative_to(ROOT / "codeq")), set())
    assert used == LIBRARIES


@pytest.mark.parametrize(
    ("name", "heavy"),
    [("config", HEAVY), ("storage", HEAVY), ("search", {"ray", "torch"}), ("results", {"ray", "torch"})],
)
def test_importing_a_light_room_loads_no_heavy_library_by_a_detour(name: str, heavy: set[str]) -> None:
    folder = ROOT / "codeq" / name
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in folder.rglob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_tune_main_puts_the_rooms_together_and_no_room_knows_it() -> None:
    """At the top it imports only what reads a template: the rest takes seconds, and Ray reads its environment then."""
    main = ROOT / "tune_main.py"
    rooms = {module.split(".")[1] for module in imported_modules(main) if module.startswith("codeq.")}
    assert {"config", "execution", "results", "search"} <= rooms
    assert libraries(main) == {"upath"}
    top = {node.module for node in ast.parse(main.read_text()).body if isinstance(node, ast.ImportFrom)}
    assert {str(module).split(".")[1] for module in top if str(module).startswith("codeq.")} == {"config", "plugins"}
    assert not any("tune_main" in imported_modules(path) for path in FILES)


def test_every_folder_and_file_of_the_package_is_a_known_room() -> None:
    assert {room(path) for path in FILES} == set(MAY_IMPORT) == set(LIBRARIES)
