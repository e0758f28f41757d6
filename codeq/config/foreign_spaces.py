"""Search spaces in the words of W&B, Ray Tune, Optuna, Hydra, NNI and Hyperopt, translated into ours, for messages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codeq.config.document import parse_document, to_line
from codeq.config.errors import ConfigError

_KEYS = {
    word: ours
    for ours, words in {
        "distribution": ("distribution", "type", "_type"),
        "low": ("low", "min", "lower", "start", "min_value", "minval"),
        "high": ("high", "max", "upper", "stop", "end", "max_value", "maxval"),
        "step": ("step",),
        "q": ("q",),
        "log": ("log", "log_scale"),
        "mean": ("mean", "mu", "loc"),
        "sd": ("sd", "sigma", "std", "scale"),
        "choices": ("choices", "values", "categories", "options", "grid_search", "choice", "vals"),
        "probabilities": ("probabilities", "weights"),
    }.items()
    for word in words
}
FOREIGN_KEYS = {word for word, ours in _KEYS.items() if ours in ("low", "high", "choices")}
_OUR_KEYS = ("distribution", "low", "high", "step", "log", "choices")
_DISTRIBUTIONS = {
    word: ours
    for ours, words in {
        "uniform": ("uniform", "float", "discreteuniform", "uniformfloat", "interval", "double"),
        "loguniform": ("loguniform", "loguniformvalues", "invloguniform", "invloguniformvalues", "reciprocal"),
        "int": ("int", "integer", "intuniform", "uniformint", "intloguniform", "randint", "lograndint", "range"),
        "choice": ("choice", "categorical", "gridsearch", "grid"),
        "normal": ("normal", "gaussian", "randn"),
        "lognormal": ("lognormal",),
    }.items()
    for word in words
}
"""Our distributions, and two that we do not have, by other tools' words as `_plain` has them."""
_LOG_INTEGERS = ("lograndint", "intloguniform")
_ENDS_BEFORE_HIGH = ("randint", "lograndint", "range")
"""Integers below the upper bound, as Python's `range` has it; Ray's `qrandint` and `qlograndint` include it."""
_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
"""W&B's distributions whose bounds are exponents of e."""
MAX_TEXT = 1000
"""The longest text that is read as a space, which takes a time that grows with the square of its length."""
_SPREAD = 2
"""Standard deviations on each side of the mean that the range for a normal distribution reaches."""


@dataclass(frozen=True)
class Translation:
    """A search space in our words.

    spaces: plain data, the most exact first; a key may refuse some of them, such as fractions. Empty if bounds or
    values are missing. outline: the first one with `...` for what is missing or wrong. note: what it does not keep.
    """

    spaces: tuple[Any, ...]
    outline: str
    note: str = ""


def in_our_words(value: Any) -> Translation | None:
    """How we write a search space that stands as plain data in a file; None if it is ours, or not recognized.

    Recognized are mappings (`{min: 1, max: 8}`, `{loguniform: [1e-4, 0.1]}`), calls (`tune.uniform(0, 1)`), and several
    values, as a list or separated by commas.
    """
    match value:
        case dict():
            found = _of_mapping({str(key).lower(): item for key, item in value.items()})
        case str():
            found = _of_text(value.strip())
        case [first, *others] if others and all(other == first for other in others):  # such as an image's two sides
            found = Translation((first,), to_line(first))
        case [_, _, *_]:
            found = _space("choice", {"choices": value})
        case _:
            found = None
    return None if found is None or value in found.spaces[:1] else found


def _of_mapping(mapping: dict[str, Any]) -> Translation | None:
    constant = {key: item for key, item in mapping.items() if (key, item) != ("distribution", "constant")}
    if [*constant] == ["value"]:  # W&B's constant
        value = _translated(mapping["value"])
        return Translation((value,), to_line(value))
    if isinstance(bounds := mapping.get("bounds", mapping.get("range")), list) and len(bounds) == 2:  # Ax
        others = {key: item for key, item in mapping.items() if key not in ("bounds", "range") and item != "range"}
        return _of_mapping({**others, "low": bounds[0], "high": bounds[1]})
    if [*mapping] == ["_type", "_value"]:  # NNI
        arguments = mapping["_value"] if isinstance(mapping["_value"], list) else []
        is_choice = _kind(str(mapping["_type"])) == "choice"
        return _of_call(str(mapping["_type"]), [arguments] if is_choice else arguments)
    if len(mapping) == 1:
        ((word, arguments),) = mapping.items()
        if _kind(word) and isinstance(arguments, list):
            return _of_call(word, arguments)
        if _kind(word) and isinstance(arguments, dict) and "distribution" not in arguments:
            return _of_mapping({"distribution": word, **{str(key).lower(): item for key, item in arguments.items()}})
    known = {word: item for word, item in mapping.items() if word in _KEYS}
    named = {_KEYS[word]: item for word, item in known.items()}
    word = str(named.pop("distribution", "choice" if "choices" in named else ""))
    is_named = any(_KEYS[key] == "distribution" for key in known)
    is_foreign = not {*known} <= {*_OUR_KEYS} or word not in ("uniform", "loguniform", "int", "choice")
    if len(named) + is_named < len(mapping) and not (is_named and is_foreign and _kind(word)):
        return None  # with a key that no space has, or one in two words
    if word.lower() in _EXPONENTS:
        named = _exponentials(named)
    found = _space(word, named)
    return found if found and (found.spaces or (is_named and is_foreign)) else None


def _exponentials(named: dict[str, Any]) -> dict[str, Any]:
    """`named` with e to the power of its bounds.

    With an exponent beyond what a float can hold, the values themselves were written.
    """
    bounds = {key: item for key, item in named.items() if key in ("low", "high") and _is_number(item)}
    if any(abs(item) >= 700 for item in bounds.values()):
        return named
    return {**named, **{key: float(f"{math.exp(item):.4g}") for key, item in bounds.items()}}


def _of_text(text: str) -> Translation | None:
    """The space of a call such as `interval(1, 8)`, or of values that are separated by commas."""
    if len(text) > MAX_TEXT:
        return None
    if tagged := re.fullmatch(r"tag\(\s*log\s*,\s*(\w+\(.*)\)\s*\)", text):  # Hydra's logarithmic scale
        text = f"{tagged[1]}, log=true)"
    call = re.fullmatch(r"((?:\w+\.)*)(?:suggest_)?(\w+)\((.*)\)", text)
    inside = re.sub(r"(\w+)\s*=\s*", r"\1: ", call[3] if call else text)
    try:
        items = parse_document(f"[{inside}]", "").data
    except ConfigError:
        return None
    if call:
        is_exponent = call[1] == "hp." and _plain(call[2]) == "loguniform"  # Hyperopt's bounds are exponents of e
        return _of_call(call[2], items, is_exponent=is_exponent)
    if re.fullmatch(r"[-+]?\d+,0\d+", text):  # a decimal comma: 0,001
        number = float(text.replace(",", "."))
        return Translation((number,), to_line(number))
    return _space("choice", {"choices": items}) if len(items) > 1 else None


def _of_call(word: str, arguments: list[Any], *, is_exponent: bool = False) -> Translation | None:
    """arguments: in their order; keyword arguments as mappings of one key."""
    keywords = {_KEYS.get(str(key), ""): item for a in arguments if isinstance(a, dict) for key, item in a.items()}
    kind = _kind(word)
    if kind == "choice":
        lists = [argument for argument in arguments if isinstance(argument, list)]
        is_one_list = len(arguments) == 1 or (len(arguments) == 2 and isinstance(arguments[0], str))  # with its name
        return _space(word, {"choices": keywords.get("choices", lists[-1] if lists and is_one_list else arguments)})
    numbers = [argument for argument in arguments if _is_number(argument)]  # the first argument may be a name
    bounds = ("mean", "sd") if kind in ("normal", "lognormal") else ("low", "high")
    named = dict(zip((*bounds, "q" if word.lower().startswith("q") else "step"), numbers, strict=False)) | keywords
    return _space(word, _exponentials(named) if is_exponent else named)


def _plain(word: str) -> str:
    """`q_uniform`, `quniform` and `UniformDistribution` as `uniform`."""
    return re.sub(r"_|distribution$|hyperparameter$|^q_?", "", word.lower())


def _kind(word: str) -> str | None:
    """Which of `_DISTRIBUTIONS` another tool's word means."""
    return _DISTRIBUTIONS.get(_plain(word))


def _space(word: str, named: dict[str, Any]) -> Translation | None:
    """Our words for the distribution `word` (empty: by its keys) with these values; None if it means none."""
    kind = _kind(word)
    if word and kind is None:
        return None
    if kind == "choice":
        return _choice(named)
    if kind in ("normal", "lognormal"):
        return _of_normal(kind, named)
    low: Any = named.get("low")
    high: Any = named.get("high")
    is_log = kind == "loguniform" or named.get("log") is True or _plain(word) in _LOG_INTEGERS
    is_whole = kind == "int" or (kind is None and isinstance(low, int) and isinstance(high, int))
    ours = "int" if is_whole else "loguniform" if is_log else "uniform"
    if not (_is_number(low) and _is_number(high)):
        if not word:
            return None
        ends = {key: to_line(end) if _is_number(end) else "..." for key, end in (("low", low), ("high", high))}
        return Translation((), _outline(ours, **ends))
    step = next((named[key] for key in ("q", "step") if _is_number(named.get(key)) and named[key] > 0), None)
    if is_whole and word.lower() in _ENDS_BEFORE_HIGH:
        high -= 1
    spaces = tuple(_ranges(low, high, step, is_log=is_log, is_whole=is_whole, from_zero="q" in named))
    lost = step is not None and is_log and not (step == 1 and spaces[0]["distribution"] == "int")
    return Translation(spaces, _outline(ours), " (a logarithmic range has no step)" if lost else "")


def _ranges(
    low: Any, high: Any, step: Any, *, is_log: bool, is_whole: bool, from_zero: bool
) -> Iterator[dict[str, Any]]:
    """Our ranges, the most exact first. from_zero: the values are multiples of the step, not steps above `low`."""
    if step is not None and not is_log:
        low, high = _grid(low, high, step, from_zero=from_zero)
    are_whole = all(isinstance(number, int) for number in (low, high, 1 if step is None else step))
    if not is_whole and not (are_whole and step is not None and (step == 1 or not is_log)):
        grid = {} if step is None or is_log else {"step": step}
        yield {"distribution": "loguniform" if is_log else "uniform", "low": low, "high": high, **grid}
    low, high = math.ceil(low), math.floor(high)
    if is_log:
        yield {"distribution": "int", "low": low, "high": high, "log": True}
    elif step is not None and float(step).is_integer():
        low, high = _grid(low, high, int(step), from_zero=from_zero)
        yield {"distribution": "int", "low": low, "high": high, "step": int(step)}
    else:
        yield {"distribution": "int", "low": low, "high": high}


def _grid(low: Any, high: Any, step: Any, *, from_zero: bool) -> tuple[Any, Any]:
    """The lowest and the highest value of a grid between two bounds."""
    exact_low, exact_high, exact_step = (Fraction(str(number)) for number in (low, high, step))
    first = math.ceil(exact_low / exact_step) * exact_step if from_zero else exact_low
    last = first + (exact_high - first) // exact_step * exact_step
    if all(isinstance(number, int) for number in (low, high, step)):
        return int(first), int(last)
    return low if first == exact_low else float(first), high if last == exact_high else float(last)


def _of_normal(kind: str, named: dict[str, Any]) -> Translation:
    """A range around the mean of a normal distribution: we have none."""
    ours = "uniform" if kind == "normal" else "loguniform"
    what = "its mean" if kind == "normal" else "e to the power of its mean"
    note = f" ({what} ± {_SPREAD} standard deviations; normal distributions are not drawn from)"
    mean: Any = named.get("mean")
    sd: Any = named.get("sd")
    if not (_is_number(mean) and _is_number(sd)):
        return Translation((), _outline(ours), note)
    ends = [mean - _SPREAD * sd, mean + _SPREAD * sd]
    if kind == "lognormal":
        ends = [float(f"{math.exp(end):.4g}") for end in ends if abs(end) < 700]
    if len(ends) < 2:
        return Translation((), _outline(ours), note)
    low, high = ends
    options = {"is_log": ours == "loguniform", "is_whole": False, "from_zero": False}
    spaces = [*_ranges(low, high, None, **options)]
    for least in (0, 1):  # many keys refuse what is below
        if low < least < high:
            spaces += _ranges(least, high, None, **options)
    return Translation(tuple(spaces), _outline(ours), note)


def _choice(named: dict[str, Any]) -> Translation:
    choices = named.get("choices")
    outline = "{distribution: choice, choices: [...]}"
    note = " (each value is as likely as the others)" if "probabilities" in named else ""
    if not isinstance(choices, list) or not choices:
        return Translation((), outline, note)
    return Translation(({"distribution": "choice", "choices": [_translated(c) for c in choices]},), outline, note)


def _translated(value: Any) -> Any:
    """`value` with the spaces inside it in our words."""
    if isinstance(value, list):
        return [_translated(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = in_our_words(value)
    return found.spaces[0] if found and found.spaces else {key: _translated(item) for key, item in value.items()}


def _outline(distribution: str, low: str = "...", high: str = "...") -> str:
    return f"{{distribution: {distribution}, low: {low}, high: {high}}}"


def outline(space: Any) -> str:
    """A space as text, the bounds of a range as `...`."""
    return _outline(space["distribution"]) if isinstance(space, dict) and "low" in space else to_line(space)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
