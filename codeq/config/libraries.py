"""Checks that the libraries that watch a sweep are installed, and W&B's variables usable, before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec

from codeq.config.environment import where_set
from codeq.config.errors import BadInput, Problem, SourceLocation, did_you_mean, format_value
from codeq.config.passwords import mask_password
from codeq.config.template import Template

RAY_DASHBOARD = ("aiohttp", "aiohttp_cors", "grpc", "opencensus", "opentelemetry.exporter.prometheus")
"""What `ray[default]` adds, without which Ray starts no dashboard."""
_WANDB_KEY = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+|([^-]*-)?[\w-]{40,}", re.ASCII)
_WANDB_MODES = ("online", "offline", "disabled")
_MORE_WANDB_MODES = ("shared", "dryrun", "run")


def check_libraries(template: Template, *, sweep: bool, dashboard: bool = False) -> None:
    """Raise BadInput with one line for each library that is missing, and each variable that W&B would refuse later.

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
    if template.tree.get("wandb_project") is not None:
        problems.extend(_wandb_problems())
    if problems:
        raise BadInput("\n".join(map(str, problems)))


def _wandb_problems() -> Iterator[Problem]:
    """What is wrong with W&B's environment variables. No line shows the key."""
    mode, url, key = (os.environ.get(f"WANDB_{name}", "") for name in ("MODE", "BASE_URL", "API_KEY"))
    if mode and mode not in _WANDB_MODES + _MORE_WANDB_MODES:
        reason = f"is {format_value(mode)}, must be one of {', '.join(_WANDB_MODES)}{did_you_mean(mode, _WANDB_MODES)}"
        yield Problem(SourceLocation(where_set("WANDB_MODE")), "WANDB_MODE", reason)
    if mode in ("offline", "disabled", "dryrun"):
        return
    if url and not re.match(r"https?://[^/\s]", url):
        reason = f"is {format_value(mask_password(url))}, must begin with https:// or http://"
        yield Problem(SourceLocation(where_set("WANDB_BASE_URL")), "WANDB_BASE_URL", reason)
    if key and not _WANDB_KEY.fullmatch(key):
        odd = not key.isascii() or not re.fullmatch(r"[\w.-]+", key)
        what = "holds a character that no key has" if odd else f"has {len(key)} characters, must have 40 or more"
        reason = f"{what}; copy the key again from https://wandb.ai/authorize, or leave it out for no W&B"
        yield Problem(SourceLocation(where_set("WANDB_API_KEY")), "WANDB_API_KEY", reason)


def _missing(package: str) -> str:
    quoted = f"'{package}'" if "[" in package else package
    return f"needs {package}, which is not installed; pip install {quoted}"


def _installed(*modules: str) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # of a parent package
        return False
