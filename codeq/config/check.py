"""Check a template by drawing from it: both ends of every range and every choice must give a valid run config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from codeq.config.distributions import Choice, Distribution, SameAs
from codeq.config.document import Document, KeyPath
from codeq.config.draw import Draw
from codeq.config.errors import Problem, nearest
from codeq.config.run import RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.tree import Unreadable, distributions, dotted, parameter_names
from codeq.config.validation import Invalid, invalid_values

Script = dict[KeyPath, Any]
"""Which end of a distribution to draw, by path; where none is named, the first."""


def first_end(distribution: Distribution) -> Any:
    """The low end of a range, the first label of a choice."""
    return next(iter(distribution.ends().values()))


def draw_scripted(tree: Any, script: Script) -> Draw:
    """The config that a script draws."""
    return Draw(tree, lambda path, distribution: script.get(path, first_end(distribution)))


def scripts(tree: Any) -> list[Script]:
    """Draws that together meet every end of every distribution, each with the choices that lead to it."""
    ends = [
        {**_way_to(tree, path), path: end}
        for path, distribution in distributions(tree).items()
        for end in distribution.ends().values()
    ]
    return [{}, *ends]


def _way_to(tree: Any, path: KeyPath) -> Script:
    """The labels of the choices inside which `path` stands."""
    way: Script = {}
    value = tree
    for position, step in enumerate(path):
        if not isinstance(value, Choice):
            value = value[step]
        elif step != "choices":
            way[path[: position - 1]] = value.labels[int(step)]
            value = value.choices[int(step)]
    return way


def run_problems(tree: dict[str, Any], document: Document) -> list[Problem]:
    """What is wrong with the configs that can be drawn, each problem once, at the line where it was written."""
    found: dict[Problem, None] = {}
    for script in scripts(tree):
        draw = draw_scripted(tree, script)
        for path, reason in _reasons(draw, script, tree):
            problem = Problem(document.mark(_origin(draw, path)), dotted(draw.data, path), reason)
            found[problem] = None
    return list(found)


def _reasons(draw: Draw, script: Script, tree: Any) -> Iterator[tuple[KeyPath, str]]:
    """(path in the drawn config, what is wrong there)."""
    for path, key in draw.unresolved.items():
        where = "leads in a circle" if draw.has(key) else "does not exist in every config that can be drawn"
        yield path, f"same_as: {key} {where}"
    try:
        RunConfig.model_validate(draw.data)
    except ValidationError as error:
        for invalid in invalid_values(error, RunConfig, draw.data):
            if not isinstance(_value_at(draw.data, invalid.path), Unreadable | SameAs):  # reported already
                yield invalid.path, _with_end(invalid, draw, script, tree)


def _value_at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else data[step]
    return data


def _with_end(invalid: Invalid, draw: Draw, script: Script, tree: Any) -> str:
    """The reason, which for a value drawn from a range says at which end: `low is -1, must be ...`."""
    origin = draw.origin.get(invalid.path)
    distribution = distributions(tree).get(origin) if origin is not None else None
    if origin is None or distribution is None or isinstance(distribution, Choice):
        return str(invalid)
    value = script.get(origin, first_end(distribution))
    return f"{next(name for name, end in distribution.ends().items() if end == value)} {invalid}"


def _origin(draw: Draw, path: KeyPath) -> KeyPath:
    """Where in the file the value at `path` was written, or would have to be."""
    known = path
    while known not in draw.origin:
        known = known[:-1]
    return (*draw.origin[known], *path[len(known) :])


def sweep_problems(sweep: SweepConfig, tree: Any, document: Document) -> Iterator[Problem]:
    """What does not fit between the sweep section and the parameters."""
    names = parameter_names(tree)
    found = distributions(tree)
    if not found and (sweep.trials or 1) > 1:
        reason = f"is {sweep.trials}, but no value of the file is a distribution: there is one config to try"
        yield Problem(document.mark(("sweep", "trials")), "sweep.trials", reason)
    if sweep.search.sampler == "grid":
        for path, distribution in found.items():
            if distribution.size() == float("inf"):
                reason = "the grid sampler needs a finite range; give a step, or list choices"
                yield Problem(document.mark(path), names[path], reason)
    parameters = {names[path]: distribution for path, distribution in found.items()}
    for index, values in enumerate(sweep.enqueue):
        for name, reason in _enqueue_reasons(values, parameters):
            mark = document.mark(("sweep", "enqueue", index, name))
            yield Problem(mark, f"sweep.enqueue.{index}.{name}", reason)


def _enqueue_reasons(values: dict[str, Any], parameters: dict[str, Distribution]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if name not in parameters:
            yield name, f"unknown parameter{nearest(name, parameters) or '; one of ' + ', '.join(parameters)}"
        elif not parameters[name].contains(value):
            yield name, f"is {value!r}, must be drawable from {parameters[name]}"
