"""Checks that the libraries that watch a sweep are installed, before anything starts."""

from __future__ import annotations

from importlib.util import find_spec

from codeq.config.errors import BadInput, Problem, SourceLocation
from codeq.config.template import Template

RAY_DASHBOARD = ("aiohttp", "aiohttp_cors", "grpc", "opencensus", "opentelemetry.exporter.prometheus")
"""What `ray[default]` adds, without which Ray starts no dashboard."""


def check_libraries(template: Template, *, sweep: bool, dashboard: bool = False) -> None:
    """Raise BadInput with one line for each library that is missing.

    sweep: whether it is a sweep or a single run. dashboard: whether the dashboards are asked for.
    """
    problems = []
    if sweep and not _installed("tensorboard"):
        problems.append(Problem(SourceLocation("a sweep"), "", _missing("tensorboard")))
    if dashboard and not _installed(*RAY_DASHBOARD):
        problems.append(Problem(SourceLocation("--dashboard"), "", _missing("ray[default]")))
    if dashboard and not _installed("optuna_dashboard"):
        problems.append(Problem(SourceLocation("--dashboard"), "", _missing("optuna-dashboard")))
    if template.tree.get("wandb_project") is not None and not _installed("wandb"):
        problems.append(template.problem("wandb_project", _missing("wandb")))
    if problems:
        raise BadInput("\n".join(map(str, problems)))


def _missing(package: str) -> str:
    quoted = f"'{package}'" if "[" in package else package
    return f"needs {package}, which is not installed; pip install {quoted}"


def _installed(*modules: str) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # of a parent package
        return False
