"""docs/every-key.md: every key of a template, its type, default and meaning, read from the classes that check it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from codeq.config.distributions import DISTRIBUTIONS, SameAs
from codeq.config.metrics import METRICS
from codeq.config.run import (
    ONE_PER_SWEEP,
    AdamGroup,
    AdamGroups,
    LossTermConfig,
    QuantizerConfig,
    RunConfig,
    SgdGroup,
)
from codeq.config.sweep import Confirm, Resources, Scheduler, Search, SweepConfig
from codeq.config.types import MAX_INT, StrictModel
from codeq.registry import REGISTRIES

HEAD = """\
# Every key

Written by `python -m codeq.config keys` from the classes that check every file. A value may be a distribution (the last
section), but for those below `sweep` and those that *all trials share*. A key without a default is required.

"""
_SECTIONS: tuple[tuple[str, type[StrictModel]], ...] = (
    ("quantizer", QuantizerConfig),
    ("optimizer.param_groups", AdamGroups),
    ("optimizer.param_groups.GROUP, adamw and adam", AdamGroup),
    ("optimizer.param_groups.GROUP, sgd", SgdGroup),
    ("loss_terms, each", LossTermConfig),
)
_BOUNDS = ("minimum", "maximum")
_SWEEP: tuple[tuple[str, type[StrictModel]], ...] = (
    ("sweep", SweepConfig),
    ("sweep.search", Search),
    ("sweep.scheduler", Scheduler),
    ("sweep.resources", Resources),
    ("sweep.confirm", Confirm),
)


def key_reference() -> str:
    """Return the page as Markdown."""
    tables = [
        _table("A training run", RunConfig),
        *(_table(title, section) for title, section in _SECTIONS),
        _parts_table(),
        *(_table(title, section) for title, section in _SWEEP),
        _metrics_table(),
        *(_table(f"Distribution: {name}", section) for name, section in DISTRIBUTIONS.items()),
        _table("Reference: same_as", SameAs),
    ]
    return HEAD + "\n".join(tables)


def _table(title: str, section: type[StrictModel]) -> str:
    """The keys of one section."""
    schema = section.model_json_schema()
    rows = []
    for key, field in schema["properties"].items():
        default = "" if key in schema.get("required", []) else _default(field)
        shared = " (*all trials share it*)" if section is RunConfig and key in ONE_PER_SWEEP else ""
        rows.append((f"`{key}`", _type(field), default, field.get("description", "") + shared))
    about = (section.__doc__ or "").strip().splitlines()[0]
    return f"## {title}\n\n{about}\n\n" + _markdown(("key", "type", "default", "meaning"), rows)


def _default(field: Mapping[str, Any]) -> str:
    """The default as JSON; a section's defaults are in its own table."""
    default = field.get("default")
    return "" if isinstance(default, dict) and "$ref" in field or "default" not in field else f"`{json.dumps(default)}`"


def _type(field: Mapping[str, Any]) -> str:
    """A type with its range in words: `int, 1 or more`, `list of float, 0 to below 1`."""
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if "$ref" in field:
        return "name or section" if field["$ref"].endswith(("ModelConfig", "DatasetConfig")) else "section"
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    kind = {"number": "float", "integer": "int", "boolean": "true or false", "string": "text", "object": "mapping"}
    if field.get("type") == "array":
        inner = _type(field["items"]) if field["items"] else "value"
        return f"list of {inner}"
    name = str(field.get("type", "value"))
    return ", ".join(part for part in (kind.get(name, name), _range(field)) if part)


def _range(field: Mapping[str, Any]) -> str:
    low, high = (bound if bound is None or abs(bound) < MAX_INT else None for bound in map(field.get, _BOUNDS))
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    start = f"{low:g} or more" if low is not None else f"above {above:g}" if above is not None else ""
    if below is not None:
        return f"{start and start + ', '}below {below:g}"
    if high is None:
        return start
    return f"{low:g} to {high:g}" if low is not None else f"at most {high:g}"


def _parts_table() -> str:
    """The built-in parts with their kwargs."""
    rows = []
    for kind, registry in REGISTRIES.items():
        for part in (part for part in registry if not part.is_plugin):
            schema = part.schema.model_json_schema()
            kwargs = [
                f"`{key}` ({_type(field)}, {_default(field)}): {field.get('description', '')}"
                for key, field in schema.get("properties", {}).items()
            ]
            if schema.get("additionalProperties"):
                kwargs.append("whatever timm's builder takes")
            rows.append((kind, f"`{part.name}`", "<br>".join(kwargs)))
    return "## kwargs of the built-in parts\n\n" + _markdown(("kind", "name", "kwargs (type, default): meaning"), rows)


def _metrics_table() -> str:
    rows = [(f"`{metric.name}`", metric.direction or "", metric.description) for metric in METRICS.values()]
    about = "For objectives, constraints, `--pick` and the columns of all tables."
    return f"## Metrics\n\n{about}\n\n" + _markdown(("metric", "better", "meaning"), rows)


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heading = list(head)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
