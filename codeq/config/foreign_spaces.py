"""Search spaces in the words of W&B, Ray Tune, Optuna and Hydra, translated into ours, for messages."""

from __future__ import annotations

import math
import re
from typing import Any

from yaml import YAMLError

from codeq.config.document import parse_document, to_line
from codeq.config.errors import ConfigError

_KEYS = {
    word: ours
    for ours, words in {
        "distribution": ("distribution", "type", "_type"),
        "low": ("low", "min", "lower", "start"),
        "high": ("high", "max", "upper", "stop", "end"),
        "step": ("step", "q"),
        "log": ("log",),
        "choices": ("choices", "values", "categories", "options", "grid_search", "choice"),
    }.items()
    for word in words
}
_DISTRIBUTIONS = {
    word: ours
    for ours, words in {
        "uniform": ("uniform", "float", "quniform", "q_uniform", "interval", "floatdistribution"),
        "loguniform": ("loguniform", "log_uniform", "log_uniform_values", "qloguniform", "q_log_uniform_values"),
        "int": ("int", "integer", "int_uniform", "randint", "qrandint", "lograndint", "range", "intdistribution"),
        "choice": ("choice", "categorical", "grid_search", "grid", "categoricaldistribution"),
    }.items()
    for word in words
}
_ENDS_BEFORE_HIGH = ("randint", "lograndint", "range")
"""Integers below the upper bound, as Python's `range` has it."""


def in_our_words(value: Any) -> str | None:
    """How we write a search space that stands as plain data in a file; None if it is ours, or not recognized.

    Recognized are mappings (`{min: 1, max: 8}`, `{loguniform: [1e-4, 0.1]}`), calls (`tune.uniform(0, 1)`), and several
    values, as a list or separated by commas.
    """
    match value:
        case dict():
            ours = _of_mapping({str(key).lower(): item for key, item in value.items()})
        case str():
            ours = _of_text(value.strip())
        case [_, _, *_]:
            ours = _space("choice", {"choices": value})
        case _:
            ours = None
    try:
        return None if ours is None or ours == value else to_line(ours)
    except YAMLError:  # a part of it is no plain data: its own problem is reported
        return None


def _of_mapping(mapping: dict[str, Any]) -> Any:
    if [*mapping] == ["value"]:  # W&B's constant
        return mapping["value"]
    if len(mapping) == 1:
        ((word, arguments),) = mapping.items()
        if word in _DISTRIBUTIONS and isinstance(arguments, list):
            return _of_call(word, arguments)
    named = {_KEYS[word]: item for word, item in mapping.items() if word in _KEYS}
    if len(named) < len(mapping):  # with a key that no space has, or one in two words
        return None
    word = str(named.pop("distribution", "choice" if "choices" in named else "")).lower()
    if word == "log_uniform" and "min" in mapping:  # W&B's bounds are exponents of e
        numbers = {key: item for key, item in named.items() if _is_number(item)}
        # With an exponent beyond what a float can hold, the values themselves were written.
        are_exponents = all(abs(item) < 700 for item in numbers.values())
        named = {key: float(f"{math.exp(item):.4g}") for key, item in numbers.items()} if are_exponents else numbers
    return _space(word, named)


def _of_text(text: str) -> Any:
    """The space of a call such as `interval(1, 8)`, or of values that are separated by commas."""
    if tagged := re.fullmatch(r"tag\(\s*log\s*,\s*(\w+\(.*)\)\s*\)", text):  # Hydra's logarithmic scale
        text = f"{tagged[1]}, log=true)"
    call = re.fullmatch(r"(?:\w+\.)*(?:suggest_)?(\w+)\((.*)\)", text)
    inside = re.sub(r"(\w+)\s*=\s*", r"\1: ", call[2] if call else text)
    try:
        items = parse_document(f"[{inside}]", "").data
    except ConfigError:
        return None
    if call:
        return _of_call(call[1].lower(), items)
    return _space("choice", {"choices": items}) if len(items) > 1 else None


def _of_call(word: str, arguments: list[Any]) -> Any:
    """arguments: in their order; keyword arguments as mappings of one key."""
    keywords = {_KEYS.get(str(key), ""): item for a in arguments if isinstance(a, dict) for key, item in a.items()}
    if _DISTRIBUTIONS.get(word) == "choice":
        is_one_list = len(arguments) == 1 and isinstance(arguments[0], list)
        return _space(word, {"choices": arguments[0] if is_one_list else arguments})
    numbers = [argument for argument in arguments if _is_number(argument)]  # Optuna's first argument is a name
    return _space(word, {**dict(zip(("low", "high", "step"), numbers, strict=False)), **keywords})


def _space(word: str, named: dict[str, Any]) -> dict[str, Any] | None:
    """Our mapping for the distribution `word` (empty: by its keys) with these of our keys; None if it means none."""
    kind = _DISTRIBUTIONS.get(word)
    low: Any = named.get("low")
    high: Any = named.get("high")
    if kind == "choice":
        choices = named.get("choices")
        return {"distribution": kind, "choices": choices} if isinstance(choices, list) and choices else None
    if not (_is_number(low) and _is_number(high)) or (word and kind is None):
        return None
    is_log = named.get("log") is True or word == "lograndint"
    step = {"step": named["step"]} if named.get("step") is not None else {}
    if kind == "int" or (kind is None and isinstance(low, int) and isinstance(high, int)):
        if word in _ENDS_BEFORE_HIGH:
            high = low + (high - 1 - low) // step.get("step", 1) * step.get("step", 1)
        return {"distribution": "int", "low": low, "high": high, **({"log": True} if is_log else step)}
    if kind == "loguniform" or is_log:
        return {"distribution": "loguniform", "low": low, "high": high}
    return {"distribution": "uniform", "low": low, "high": high, **step}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
