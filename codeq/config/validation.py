"""pydantic's errors, reworded and at the key paths of the user's file."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from codeq import registry  # used at call time only: the two modules import each other
from codeq.config.document import KeyPath, is_number, to_line
from codeq.config.errors import MAX_PROBLEMS, closest, format_value
from codeq.config.foreign_keys import advice_for_key
from codeq.config.foreign_spaces import FOREIGN_KEYS
from codeq.config.run import PartConfig, RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.types import StrictModel

WHOLE_NUMBER = "must be a whole number"
MISSING = "is missing"
UNKNOWN_KEY = "unknown key"
QUOTE = "; put it in quotes"
_REQUIREMENTS = {
    "int_type": WHOLE_NUMBER,
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be UTF-8 text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have {max_length:,} or fewer characters",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must hold {min_length} or more entries",
    "too_long": "must hold {max_length} or fewer entries",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
}
_KIND_KEYS = ("name", "type")
_SYNONYMS = {
    "type": ("name",), "_target_": ("name",), "name": ("sampler",), "method": ("sampler",), "algorithm": ("sampler",),
    "learning_rate": ("lr",), "wd": ("weight_decay",), "l2": ("weight_decay",), "deadzone": ("dz",), "bits": ("bit",),
    "weight": ("lambda",), "factor": ("lambda",), "coefficient": ("lambda",),
}  # fmt: skip
"""Other words for a key, and what it is called in the section in which one of these stands."""
_BESIDE_RUN_CONFIG = ("sweep", "extends")
"""Top-level keys of a file besides RunConfig's own."""


@dataclass(frozen=True)
class FieldError:
    """A value that its type refuses: its path in the data, what it is and what it must be.

    value: None if the requirement already names it, or for a missing key.
    suggestion: the name that was probably meant by a misspelt one.
    loc: the key inside the value that has the problem, if known.
    ours: the dotted key to write instead of an unknown one, if known.
    """

    path: KeyPath
    value: str | None
    requirement: str
    hint: str = ""
    suggestion: str | None = None
    loc: KeyPath = ()
    ours: str | None = None

    def __str__(self) -> str:
        value = "" if self.value is None else f"is {self.value}, "
        return value + self.requirement + (f"; did you mean {self.suggestion}?" if self.suggestion else self.hint)


def field_errors(error: ValidationError, model: type[StrictModel], data: Any) -> list[FieldError]:
    """One FieldError for each refused value of `data`, which was validated as `model`; the first MAX_PROBLEMS."""
    found: dict[KeyPath, FieldError] = {}
    for details in error.errors()[:MAX_PROBLEMS]:
        invalid = _invalid(details, model, data)
        known = found.get(invalid.path)
        found[invalid.path] = _either(known, invalid) if known else invalid
    meant = [(invalid.path[:-1], invalid.suggestion) for invalid in found.values() if invalid.suggestion]
    suggested = {(*section, name.partition(":")[0]) for section, name in meant}  # `name` of `name: group_lasso`
    listed = [i for path, i in found.items() if not (i.requirement == MISSING and path in suggested)]
    return listed + _behind_misspelt_kinds(listed, model, data)


def _either(known: FieldError, other: FieldError) -> FieldError:
    """One error for a value that several members of a union refuse, or of which the key is refused already."""
    if other.requirement == known.requirement or known.value is None:
        return known
    requirement = f"{known.requirement} or {other.requirement.removeprefix('must be ')}"
    return FieldError(known.path, known.value, requirement, known.hint, known.suggestion or other.suggestion)


def _behind_misspelt_kinds(found: list[FieldError], model: type[StrictModel], data: Any) -> list[FieldError]:
    """Errors in sections whose kind (`quantizer.name`, `optimizer.type`) is misspelt, read as the suggested one."""
    repaired = copy.deepcopy(data)
    kinds = [invalid for invalid in found if invalid.suggestion and invalid.requirement != UNKNOWN_KEY]
    for kind in kinds:
        section = repaired
        for step in kind.path[:-1]:
            section = section[step]
        section[kind.path[-1]] = kind.suggestion
    try:
        if kinds:
            model.model_validate(repaired)
    except ValidationError as error:
        known = {invalid.path for invalid in found}
        return [invalid for invalid in field_errors(error, model, repaired) if invalid.path not in known]
    return []


def _invalid(details: ErrorDetails, model: type[StrictModel], data: Any) -> FieldError:
    path, context, value = _path(details, data), details.get("ctx", {}), details["input"]
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path, details["loc"], model, data)
        case "missing":
            return FieldError(path, None, MISSING)
        case "literal_error":
            choices = re.findall(r"'([^']*)'|(\d+)", str(context["expected"]))
            return _not_one_of([text or number for text, number in choices], path, value)
        case "unknown_part":
            return _unknown_part(list(context["names"]), path, value)
        case "union_tag_invalid":
            key = str(context["discriminator"]).strip("'")
            return _not_one_of(re.findall(r"'([^']*)'", str(context["expected_tags"])), (*path, key), value[key])
        case "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            sections, _ = _sections_at(model, details["loc"], data)
            hint = f"; must be one of {', '.join(name for section in sections for name in _names(section, key))}"
            return FieldError((*path, key), None, MISSING, hint)
        case "value_error":
            return FieldError(path, format_value(value), str(context["error"]))
        case "invalid":
            loc = (context["loc"],) if context["loc"] else ()
            return FieldError(path, None, str(context["reason"]), loc=loc)
        case kind if kind in _REQUIREMENTS:
            requirement = _REQUIREMENTS[kind].format(**context)
            return FieldError(path, format_value(value), requirement, _hint(details, model, data))
    return FieldError(path, format_value(value), re.sub(r"^Input should", "must", details["msg"]))


def _unknown_key(path: KeyPath, location: KeyPath, model: type[StrictModel], data: Any) -> FieldError:
    if model in (RunConfig, SweepConfig) and "kwargs" not in path:
        ours, advice = advice_for_key(path if model is RunConfig else ("sweep", *path))
        if advice:
            return FieldError(path, None, UNKNOWN_KEY, f"; {advice}", ours=ours)
    sections, part = _sections_at(model, location[:-1], data)
    allowed = [field.alias or name for name, field in sections[0].model_fields.items()]
    if sections[0] is RunConfig:
        allowed += _BESIDE_RUN_CONFIG
    key = str(path[-1])
    suggestion = next((name for name in _SYNONYMS.get(key, ()) if name in allowed), None) or closest(key, allowed)
    if issubclass(sections[0], PartConfig):
        kind = registry.REGISTRIES[sections[0].kind]
        found = kind.find(part)
        if found and any(key == field.alias for field in found.schema.model_fields.values()):
            return FieldError(path, None, UNKNOWN_KEY, f"; write kwargs: {{{key}: ...}}")
        if part is None and key in kind.names():
            suggestion = f"name: {key}"
    if suggestion is None and model is RunConfig and len(path) > 1 and key in RunConfig.model_fields:
        return FieldError(path, None, UNKNOWN_KEY, f"; {key} stands at the top level of the file")
    kinds = [step for step in location if isinstance(step, str) and step not in path]
    of_kind = f" for {part or kinds[-1]}" if part or kinds else ""
    return FieldError(path, None, UNKNOWN_KEY, f"; allowed{of_kind}: {', '.join(allowed) or 'none'}", suggestion)


def _unknown_part(names: list[str], path: KeyPath, value: Any) -> FieldError:
    """What is written where the name of a part should be."""
    suggestion = closest(value, names) or _inside(value, names)
    hint = "; a name of your own needs --plugin FILE.py" if isinstance(value, str) else ""
    requirement = f"must be {'one of ' if len(names) > 1 else ''}{registry.join_names(names)}"
    return FieldError(path, format_value(value), requirement, hint, suggestion)


def _not_one_of(names: list[str], path: KeyPath, value: Any) -> FieldError:
    requirement = f"must be one of {', '.join(names)}" if len(names) > 1 else f"must be {names[0]}"
    return FieldError(path, format_value(value), requirement, suggestion=closest(value, names) or _inside(value, names))


def _inside(value: Any, names: list[str]) -> str | None:
    """The name with which a class or word of another tool begins: `maximize`, `torch.optim.AdamW`, `TPESampler`."""
    last = str(value).rpartition(".")[2].lower()
    return max((name for name in names if last.startswith(name)), key=len, default=None)


def _hint(details: ErrorDetails, model: type[StrictModel], data: Any) -> str:
    """What to write instead of a value of the wrong type, if that is clear."""
    kind, value = details["type"], details["input"]
    if kind in ("model_attributes_type", "model_type"):
        sections, _ = _sections_at(model, details["loc"], data)
        if value in (False, "none", "None") and _may_be_null(model, details["loc"], data):
            return "; write null for none"
        return _section_hint(*sections, value=value)
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind in ("int_type", "float_type") and isinstance(value, str) and is_number(value):
        return "; write it without quotes"
    if kind == "string_type" and isinstance(value, int | float):
        return QUOTE
    if model is RunConfig and isinstance(value, str) and (key := re.fullmatch(r"\$\{([\w.]{1,200})\}", value)):
        return f"; write {{same_as: {key[1]}}}"  # for Hydra's interpolation
    if isinstance(value, dict) and FOREIGN_KEYS & {*value}:
        if model is SweepConfig:
            return "; nothing below sweep can be searched"
        if model is RunConfig and kind == "list_type":
            return "; a choice of lists is {distribution: choice, choices: [[...], [...]]}"
    if isinstance(value, dict) and model is RunConfig and kind in ("int_type", "float_type"):
        return f"; a range is {{distribution: {'int' if kind == 'int_type' else 'uniform'}, low: ..., high: ...}}"
    if kind == "list_type":
        return _list_hint(_sections_at(model, details["loc"], data)[0][0], value)
    if kind == "float_type" and isinstance(value, str) and re.fullmatch(r"[0-9.]{1,9} ?%", value):
        percent = value.rstrip("% ")
        return f"; write {float(percent) / 100:g}" if is_number(percent) else ""
    return ""


def _list_hint(section: type[StrictModel], value: Any) -> str:
    """What to write instead of `value` where a list, perhaps of `section`, has to stand."""
    if value is None:
        return "; write []"
    if isinstance(value, dict):
        return "; begin each entry with '- '"
    if isinstance(value, str) and (inside := re.fullmatch(r"\(([^()]{1,99})\)", value)):  # Python's tuple
        return f"; write [{inside[1]}]"
    if issubclass(section, PartConfig) and value in _names(section, "name"):
        return f"; write [{{name: {value}}}]"
    is_one = isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[\w.]{1,99}", value))
    return f"; write [{to_line(value)}]" if is_one and not isinstance(value, bool) else ""


def _may_be_null(model: type[StrictModel], location: KeyPath, data: Any) -> bool:
    sections, _ = _sections_at(model, location[:-1], data)
    fields = [section.model_fields.get(str(location[-1])) for section in sections]
    return any(field is not None and type(None) in get_args(field.annotation) for field in fields)


def _section_hint(*sections: type[StrictModel], value: Any) -> str:
    """What to write instead of `value`, where one of the sections has to stand."""
    names = {key: _names(section, key) for section in sections for key in section.model_fields}
    named = [key for key in names if value in names[key]] if isinstance(value, str) else []
    if named:
        return f"; write {{{named[0]}: {value}}}"
    kinds = [key for key in names if key in (*_KIND_KEYS, "sampler") and names[key]]
    if kinds:
        every = dict.fromkeys(name for section in sections for name in _names(section, kinds[0]))
        return f"; write {{{kinds[0]}: ...}} with one of {', '.join(every)}"
    required = {key for section in sections for key, field in section.model_fields.items() if field.is_required()}
    if not required:
        return "; write {} for its defaults" if isinstance(value, bool) else ""
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return f"; write {{{required.pop()}: {value}}}" if is_one and len(required) == 1 else ""


def _path(details: ErrorDetails, data: Any) -> KeyPath:
    """The error's location without the steps that pydantic adds for members of a union or dict keys."""
    path: KeyPath = ()
    for step in details["loc"]:
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        elif details["type"] != "missing" or step not in ("kwargs", details["loc"][-1]):
            continue
        path = (*path, step)
    return path


def _sections_at(
    model: type[StrictModel], location: KeyPath, data: Any
) -> tuple[list[type[StrictModel]], str | None]:
    """The sections that may stand at pydantic's `location`, in which a union's step is its member's tag.

    Also the name of the part (a quantizer, a loss term, ...) that the location lies in; None outside of parts.
    """
    candidates, part = [model], None
    for step in location:
        if part and step == "kwargs" and issubclass(candidates[0], PartConfig):
            found = registry.REGISTRIES[candidates[0].kind].find(part)
            candidates = [found.schema] if found else candidates
        else:
            fields = [field for c in candidates for n, field in c.model_fields.items() if step in (n, field.alias)]
            below = [section for field in fields for section in _sections(field.annotation)]
            tagged = [c for c in candidates if any(step in _names(c, name) for name in c.model_fields)]
            candidates = below or tagged or candidates
        if isinstance(data, dict):
            data = data.get(step, data)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        if issubclass(candidates[0], PartConfig) and isinstance(data, dict) and isinstance(data.get("name"), str):
            part = data["name"]
    return candidates, part


def _sections(annotation: Any) -> Iterator[type[StrictModel]]:
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _names(section: type[StrictModel], field: str) -> tuple[Any, ...]:
    """The values of a Literal field or of a part's `name`; empty for other fields."""
    if issubclass(section, PartConfig) and field == "name":
        return registry.REGISTRIES[section.kind].names()
    annotation = section.model_fields[field].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()
