"""Data set names and the functions that read them."""

from __future__ import annotations

from collections.abc import Callable

from codeq.config.errors import did_you_mean
from codeq.config.run import RunConfig
from codeq.data.raw import RawImages

Source = Callable[[RunConfig], RawImages]

_SOURCES: dict[str, Source] = {}


def source(name: str) -> Callable[[Source], Source]:
    """Register a function as the data set `name`. Raises ValueError for a name that is taken."""

    def add(read: Source) -> Source:
        if name in _SOURCES:
            raise ValueError(f"data set {name} is registered twice")
        _SOURCES[name] = read
        return read

    return add


def source_names() -> tuple[str, ...]:
    """Every registered name."""
    return tuple(_SOURCES)


def load_raw(config: RunConfig) -> RawImages:
    """The images of `config.dataset` as published; one copy can serve every process of a machine.

    Raises DataUnavailable if they are missing and cannot be downloaded, DataDamaged for a broken file.
    """
    if config.dataset not in _SOURCES:
        choices = ", ".join(_SOURCES)
        hint = did_you_mean(config.dataset, _SOURCES)
        raise ValueError(f"unknown data set {config.dataset!r}, must be one of {choices}{hint}")
    return _SOURCES[config.dataset](config)
