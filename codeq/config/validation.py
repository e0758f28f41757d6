"""pydantic's errors, put into our words at the user's own key paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from codeq.config.document import KeyPath
from codeq.config.errors import nearest
from codeq.config.run import Section


@dataclass(frozen=True)
class Invalid:
    """A value that its type refuses: where it stands in the data, what it is and what it must be.

    `value` is None where the reason already names the value, or where there is none (a missing key).
    """

    path: KeyPath
    value: str | None
    requirement: str

    def __str__(self) -> str:
        return self.requirement if self.value is None else f"is {self.value}, {self.requirement}"


def invalid_values(error: ValidationError, model: type[Section], data: Any) -> list[Invalid]:
    """One Invalid for each refused value of `data`, which was validated as `model`."""
    found: dict[KeyPath, Invalid] = {}
    for details in error.errors():
        invalid = _invalid(details, model, data)
        known = found.get(invalid.path)
        if known and known.requirement != invalid.requirement:  # the members of a union, each refusing
            alternative = invalid.requirement.removeprefix("must be ")
            invalid = Invalid(known.path, known.value, f"{known.requirement} or {alternative}")
        found[invalid.path] = invalid
    return list(found.values())


def _invalid(details: ErrorDetails, model: type[Section], data: Any) -> Invalid:
    path, context = _path(details, data), details.get("ctx", {})
    value = _shown(details["input"])
    match details["type"]:
        case "extra_forbidden":
            allowed = [field.alias or name for name, field in _model_at(model, details["loc"][:-1]).items()]
            hint = nearest(path[-1], allowed) or f"; allowed: {', '.join(allowed)}"
            return Invalid(path, None, f"unknown key{hint}")
        case "missing":
            return Invalid(path, None, "is missing")
        case "literal_error":
            choices = re.findall(r"'([^']*)'|(\d+)", str(context["expected"]))
            names = [text or number for text, number in choices]
            return Invalid(path, value, f"must be {_one_of(names)}{nearest(details['input'], names)}")
        case "union_tag_invalid":
            names = re.findall(r"'([^']*)'", str(context["expected_tags"]))
            tag_path = (*path, str(context["discriminator"]).strip("'"))
            hint = nearest(context["tag"], names)
            return Invalid(tag_path, repr(context["tag"]), f"must be {_one_of(names)}{hint}")
        case "union_tag_not_found":
            return Invalid((*path, str(context["discriminator"]).strip("'")), None, "is missing")
        case "model_type" | "model_attributes_type" | "dict_type":
            return Invalid(path, value, "must be a mapping of keys to values")
        case "invalid":
            return Invalid(path, None, str(context["reason"]))
    return Invalid(path, value, re.sub(r"^Input should", "must", details["msg"]))


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _path(details: ErrorDetails, data: Any) -> KeyPath:
    """The error's location without the steps that pydantic adds for members of a union or dict keys."""
    path: KeyPath = ()
    for step in details["loc"]:
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        elif details["type"] != "missing" or step != details["loc"][-1]:
            continue
        path = (*path, step)
    return path


def _model_at(model: type[Section], location: KeyPath) -> dict[str, Any]:
    """The fields of the section at pydantic's `location`, in which a union's step is its member's tag."""
    candidates = [model]
    for step in location:
        fields = [field for c in candidates for n, field in c.model_fields.items() if step in (n, field.alias)]
        below = [section for field in fields for section in _sections(field.annotation)]
        tagged = [c for c in candidates if step in _tags(c)]
        candidates = below or tagged or candidates
    return dict(candidates[0].model_fields)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _tags(model: type[Section]) -> set[Any]:
    annotations = (field.annotation for field in model.model_fields.values())
    return {tag for a in annotations if get_origin(a) is Literal for tag in get_args(a)}
