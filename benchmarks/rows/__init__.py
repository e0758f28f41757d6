"""The groups of rows by name: each is a function of the options that measures and returns its rows."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from benchmarks.options import Options
from benchmarks.row import Row

NAMES = ("quantizer", "solo_mlp", "solo_resnet20", "sweep", "scaling", "noop", "cluster", "s3", "gpu")
"""In the order of the table."""

_MODULES = {"solo_mlp": "solo", "solo_resnet20": "solo"}


def group(name: str) -> Callable[[Options], list[Row]]:
    """Return the function of a group; imports only that group's module."""
    found: Callable[[Options], list[Row]] = getattr(import_module(f"benchmarks.rows.{_MODULES.get(name, name)}"), name)
    return found
