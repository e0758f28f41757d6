"""The template's JSON Schema, generated from the same types, for completion and checks in editors."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from pydantic import TypeAdapter

from codeq.config.distributions import DISTRIBUTIONS, Choice, Int, LogUniform, SameAs, Uniform
from codeq.config.run import (
    ONE_PER_SWEEP,
    DatasetConfig,
    LossTermConfig,
    ModelConfig,
    NamedPart,
    PartConfig,
    QuantizerConfig,
    RunConfig,
)
from codeq.config.sweep import SweepConfig
from codeq.registry import REGISTRIES, Part

_REFERENCES = "#/$defs/{model}"
_SEARCHED = "_searched"


def template_schema() -> dict[str, Any]:
    """RunConfig's schema in which any value may also be a distribution, with `sweep` and `extends` beside it."""
    schema = RunConfig.model_json_schema(ref_template=_REFERENCES)
    definitions = schema.pop("$defs")
    for part in (ModelConfig, DatasetConfig, QuantizerConfig, LossTermConfig):
        definitions.update(_parts(part, definitions[part.__name__]))
    definitions = {name: _searchable(d) for name, d in definitions.items()}
    searched = TypeAdapter(Uniform | LogUniform | Int | Choice | SameAs).json_schema(ref_template=_REFERENCES)
    definitions.update(searched.pop("$defs"))
    definitions[_SEARCHED] = {**searched, "description": f"{', '.join(DISTRIBUTIONS)} or same_as"}
    sweep = SweepConfig.model_json_schema(ref_template=_REFERENCES)
    definitions.update(sweep.pop("$defs"))
    schema = _searchable(schema, fixed=ONE_PER_SWEEP)
    schema["properties"]["sweep"] = sweep
    schema["properties"]["extends"] = {"type": "string", "description": "the file that this one starts from"}
    head: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "CoDeQ Tune template"}
    return {**head, **{k: v for k, v in schema.items() if k != "title"}, "$defs": dict(sorted(definitions.items()))}


def _parts(model: type[PartConfig], general: dict[str, Any]) -> dict[str, Any]:
    """The definitions, by name, of what may stand where `model` may.

    Parts that ship have their own `kwargs`; those of any other name may be a plug-in's, which an editor cannot know.
    """
    kind, by_kwargs = model.kind, dict[str, list[Part]]()
    shipped = [part for part in REGISTRIES[kind] if not part.is_plugin and "/" not in part.name]
    for part in shipped:
        by_kwargs.setdefault(json.dumps(_kwargs(part)), []).append(part)
    found = {}
    for parts in by_kwargs.values():
        enum = {"enum": [part.name for part in parts]}
        found[f"{parts[0].name} {kind}"] = _with(general, enum, _searchable(_kwargs(parts[0])))
    names = [part.name for part in shipped]
    other = {"type": "string", "not": {"enum": names}}
    found[f"other {kind}"] = _with(general, other, {"type": "object"})
    alone = [{"type": "string", "examples": names}] if issubclass(model, NamedPart) else []
    references = [{"$ref": _REFERENCES.format(model=name)} for name in found]
    return {**found, model.__name__: {"anyOf": [*alone, *references]}}


def _kwargs(part: Part) -> dict[str, Any]:
    schema = part.schema.model_json_schema(ref_template=_REFERENCES)
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _with(general: dict[str, Any], name: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    properties = {**general["properties"], "name": name, "kwargs": kwargs}
    return {**{k: v for k, v in general.items() if k != "title"}, "properties": properties}


def schema_text() -> str:
    """The committed form of `template_schema`."""
    return json.dumps(template_schema(), indent=1) + "\n"


def _searchable(schema: dict[str, Any], fixed: Container[str] = ()) -> dict[str, Any]:
    """A section's schema in which every value may also be a distribution, but for the keys `fixed`.

    Nothing is required: a file may leave any key to the file it extends.
    """
    of_file = schema.get("properties", {})
    properties = {name: value if name in fixed else _or_searched(value) for name, value in of_file.items()}
    kept = {key: value for key, value in schema.items() if key != "required"}
    return {**kept, "properties": properties} if properties else schema


def _or_searched(value: dict[str, Any]) -> dict[str, Any]:
    outer: dict[str, Any] = {key: value[key] for key in ("description", "default", "title") if key in value}
    inner = {key: item for key, item in value.items() if key not in outer}
    if "items" in inner:
        inner["items"] = {"anyOf": [inner["items"], {"$ref": f"#/$defs/{_SEARCHED}"}]}
    return {**outer, "anyOf": [_any_kind(inner), {"$ref": f"#/$defs/{_SEARCHED}"}]}


def _any_kind(value: Any) -> Any:
    """A union of kinds without its discriminator: a part of a section may be valid for several kinds."""
    if isinstance(value, list):
        return [_any_kind(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        "anyOf" if key == "oneOf" else key: _any_kind(item) for key, item in value.items() if key != "discriminator"
    }
