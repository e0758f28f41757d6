"""Check a template by drawing from it: both ends of every range and every choice must give a valid run config."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any, cast

from pydantic import ValidationError

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, SameAs, Uniform
from codeq.config.document import Document, KeyPath, to_line
from codeq.config.draw import SampledConfig
from codeq.config.errors import MAX_PROBLEMS, SET, Problem, SourceLocation, did_you_mean, format_value
from codeq.config.foreign_spaces import Translation, in_our_words, outline
from codeq.config.run import ONE_PER_SWEEP, RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.tree import (
    ForeignSpace,
    InvalidValue,
    children,
    distributions,
    dotted,
    for_the_shell,
    get_path,
    parameter_names,
    parse_tree,
    to_plain,
    walk,
)
from codeq.config.validation import MISSING, UNKNOWN_KEY, WHOLE_NUMBER, FieldError, field_errors

CORNER_SAMPLES = 100
MAX_GRID = 1000
MAX_LISTED = 10


def boundary_configs(tree: Any) -> Iterator[SampledConfig]:
    """Configs that together hold every end of every distribution, in as few draws as that takes."""
    round_robin = _RoundRobin(tree)
    for turn in range(round_robin.turns):
        yield _scripted(tree, dict(round_robin.bounds(tree, (), turn)))


def corner_samples(tree: Any) -> Iterator[SampledConfig]:
    """Random combinations of range ends, the same every time: they find values valid alone but not together."""
    for seed in range(CORNER_SAMPLES if len(distributions(tree)) > 1 else 0):
        yield _mixed(tree, random.Random(seed))


def _scripted(tree: Any, bounds: dict[KeyPath, Any]) -> SampledConfig:
    return SampledConfig(tree, lambda path, distribution: bounds[path])


def _mixed(tree: Any, rng: random.Random) -> SampledConfig:
    return SampledConfig(tree, lambda path, distribution: rng.choice([*distribution.bounds().values()]))


class _RoundRobin:
    """Which bound of each distribution to draw in which turn: the items of a choice take turns with each other.

    turns: the number of draws that reach every bound in the tree.
    """

    def __init__(self, tree: Any) -> None:
        self._turns: dict[KeyPath, int] = {}
        self.turns = self._count(tree, ())

    def _count(self, value: Any, path: KeyPath) -> int:
        below = [self._count(item, (*path, *steps)) for steps, _, item in children(value)]
        own = len(value.bounds()) if isinstance(value, Uniform | LogUniform | Int) else 1
        self._turns[path] = sum(below) if isinstance(value, Choice) else max(below, default=own)
        return self._turns[path]

    def bounds(self, value: Any, path: KeyPath, turn: int) -> Iterator[tuple[KeyPath, Any]]:
        """(path, bound) of every distribution drawn in this turn in `value`, the subtree at `path`."""
        turn %= self._turns[path]
        if isinstance(value, Choice):
            for index, item in enumerate(value.choices):
                place = (*path, "choices", index)
                if turn < self._turns[place]:
                    yield path, value.labels[index]
                    yield from self.bounds(item, place, turn)
                    return
                turn -= self._turns[place]
        if isinstance(value, Uniform | LogUniform | Int):
            yield path, [*value.bounds().values()][turn]
        for steps, _, item in children(value):
            yield from self.bounds(item, (*path, *steps), turn)


def checked_draws(tree: Any) -> Iterator[SampledConfig]:
    """The configs that are drawn to check a tree."""
    return itertools.chain(boundary_configs(tree), corner_samples(tree))


def run_problems(tree: dict[str, Any], document: Document) -> list[Problem]:
    """What is wrong with the configs that can be drawn, each problem once, at the line where it was written.

    A search space in another tool's words is replaced in `tree` by a ForeignSpace, and is one problem.
    """
    problems = _all_problems(tree, document)
    if problems and _mark_foreign_spaces(tree, document):
        problems = _all_problems(tree, document)
    foreign = [path for path, _, value in walk(tree) if isinstance(value, ForeignSpace)]
    return [*problems, *(_translation(path, tree, document) for path in foreign)]


def _all_problems(tree: dict[str, Any], document: Document) -> set[Problem]:
    """The problems of the draws that check a tree, up to the draw with which there are MAX_PROBLEMS or more."""
    problems: set[Problem] = set()
    for draw in checked_draws(tree):
        problems.update(draw_problems(draw, tree, document))
        if len(problems) >= MAX_PROBLEMS:
            break
    return problems


def draw_problems(draw: SampledConfig, tree: Any, document: Document) -> Iterator[Problem]:
    """What is wrong with one drawn config, of each kind the first MAX_PROBLEMS."""
    for path, key in itertools.islice(draw.unresolved.items(), MAX_PROBLEMS):
        yield Problem(document.location(_origin(draw, path)), dotted(draw.data, path), _unresolved(key, draw, tree))
    for invalid in _errors(draw):
        yield _problem(invalid, draw, tree, document)


def _errors(draw: SampledConfig) -> Iterator[FieldError]:
    """The values of one drawn config that their keys refuse, without what is reported as a whole."""
    try:
        RunConfig.model_validate(draw.data)
    except ValidationError as error:
        for invalid in field_errors(error, RunConfig, draw.data):
            if not _is_reported(draw.data, invalid.path):
                yield invalid


def _problem(invalid: FieldError, draw: SampledConfig, tree: Any, document: Document) -> Problem:
    origin = _origin(draw, invalid.path)
    end, reason = _at_end(for_the_shell(invalid, origin, document), draw, tree)
    if invalid.requirement == MISSING:
        for path, key in document.replaced.items():
            if origin[: len(path)] == path:
                reason += f"; another {key} replaces all of {dotted(document.data, path)}"
    return Problem(document.location((*origin, *end, *invalid.loc)), dotted(draw.data, invalid.path), reason)


def _mark_foreign_spaces(tree: Any, document: Document) -> bool:
    """Replace in `tree` what keys refuse because it is a space in another tool's words; whether there is any."""
    found = [_foreign_space(i, draw, tree, document) for draw in boundary_configs(tree) for i in _errors(draw)]
    for path in filter(None, found):
        _put(tree, path, ForeignSpace())
    return any(found)


def _foreign_space(invalid: FieldError, draw: SampledConfig, tree: Any, document: Document) -> KeyPath | None:
    """The path in the file of the space in another tool's words that is the reason for an error."""
    path = _origin(draw, invalid.path)
    value = get_path(document.data, path)
    if invalid.requirement in (MISSING, UNKNOWN_KEY):
        around = [path[:length] for length in range(1, len(path))]
        return next((outer for outer in around if _fits(outer, tree, document)), None)
    is_of_wrong_type = invalid.value is not None and not invalid.requirement.startswith(("must be a list", "must hold"))
    if isinstance(get_path(tree, path), Distribution | SameAs) or not (is_of_wrong_type or isinstance(value, dict)):
        return None
    is_list = invalid.requirement.startswith("must be a list")
    return path if (_fits(path, tree, document) if is_list else in_our_words(value)) else None


def _fits(path: KeyPath, tree: Any, document: Document) -> bool:
    """Whether the value at `path` of the file is a space in another tool's words, and a space can stand there at all:
    its key wants neither a mapping nor a list."""
    value = get_path(document.data, path)
    # The list of a choice's values is no value of a key.
    is_ours = isinstance(get_path(tree, path), Distribution | SameAs) or isinstance(get_path(tree, path[:-1]), Choice)
    found = None if is_ours else in_our_words(value)
    refusals = [str(_refusal(space, path, tree, document)) for space in found.spaces] if found else []
    return any("must be a mapping" not in reason and "must be a list" not in reason for reason in refusals)


def _translation(path: KeyPath, tree: Any, document: Document) -> Problem:
    """The problem of the ForeignSpace at `path`: what to write instead, which its key takes."""
    value = get_path(document.data, path)
    if path[0] in ONE_PER_SWEEP and path[1:] in ((), ("name",)):
        reason = f"is {format_value(value)}, must be one value for the whole sweep: {ONE_PER_SWEEP[str(path[0])]}"
        return Problem(document.location(path), dotted(document.data, path), reason)
    found = cast(Translation, in_our_words(value))  # what it does not recognize is no ForeignSpace
    refusals = {_refusal(space, path, tree, document): space for space in reversed(found.spaces)}
    if None in refusals:
        ours = to_line(refusals[None]) + found.note
    elif refusals:  # the most exact one that is not refused for its type
        why, space = min(reversed(refusals.items()), key=lambda refused: WHOLE_NUMBER in str(refused[0]))
        ours = f"{outline(space)}: {why}"
    else:
        ours = found.outline + found.note
    return Problem(document.location(path), dotted(document.data, path), f"is {format_value(value)}; write {ours}")


def _refusal(space: Any, path: KeyPath, tree: Any, document: Document) -> str | None:
    """Why the key at `path` of the file does not take a space; None if it does."""
    problems: list[Problem] = []
    parsed = parse_tree(document, space, path, problems)
    if problems:
        return problems[0].reason
    if any(isinstance(part, ForeignSpace) for _, _, part in walk(parsed)):
        return "a space in it is incomplete"
    before = get_path(tree, path)
    _put(tree, path, parsed)
    try:
        for draw in _draws_of(path, tree):
            for invalid in _errors(draw):
                if _origin(draw, invalid.path)[: len(path)] == path:
                    return _at_end(invalid, draw, tree)[1]
    finally:
        _put(tree, path, before)
    return None


def _draws_of(path: KeyPath, tree: Any) -> Iterator[SampledConfig]:
    """Configs that hold the value at `path` of the tree, and together every end of every distribution in it."""
    value = get_path(tree, path)
    inside = _RoundRobin(value)
    for turn in range(inside.turns):
        bounds = {(*path, *steps): bound for steps, bound in inside.bounds(value, (), turn)}
        yield SampledConfig(tree, functools.partial(_suggest_towards, path, bounds))


def _suggest_towards(path: KeyPath, bounds: dict[KeyPath, Any], place: KeyPath, distribution: Distribution) -> Any:
    """One of `bounds`; elsewhere the choice that leads to `path`, or the first bound."""
    if place in bounds:
        return bounds[place]
    is_on_the_way = isinstance(distribution, Choice) and path[: len(place)] == place
    return [*distribution.bounds().values()][int(path[len(place) + 1]) if is_on_the_way else 0]


def _put(tree: Any, path: KeyPath, value: Any) -> None:
    get_path(tree, path[:-1])[path[-1]] = value


def _unresolved(key: str, draw: SampledConfig, tree: Any) -> str:
    if draw.has(key):
        return f"same_as: {key} leads in a circle or through too many references"
    names = {name for _, name, _ in walk(tree)}
    if key in names:
        return f"same_as: {key} is not there in every config that can be drawn, only under some choice"
    return f"same_as: {key} is not written in this file{did_you_mean(key, names)}"


def _is_reported(data: Any, path: KeyPath) -> bool:
    """Whether the value at `path` is, or is part of, a value whose problem has been reported already."""
    for step in path:
        if isinstance(data, InvalidValue | SameAs):
            break
        if isinstance(data, dict):
            data = data.get(step)
        else:  # a list, or a part's name, whose kwargs would stand below it
            data = data[step] if isinstance(data, list) and isinstance(step, int) else None
    return isinstance(data, InvalidValue | SameAs)


def _at_end(invalid: FieldError, draw: SampledConfig, tree: Any) -> tuple[KeyPath, str]:
    """For a value drawn from a range, the key of its bound and the reason: `low`, `low is -1, must be ...`."""
    origin = draw.origin.get(invalid.path)
    distribution = None if origin is None else get_path(tree, origin)
    if not isinstance(distribution, Uniform | LogUniform | Int):
        return (), str(invalid)
    if invalid.requirement == WHOLE_NUMBER:
        return (), f"is drawn from {distribution.distribution}, {WHOLE_NUMBER}; use distribution: int"
    for end, value in distribution.bounds().items():
        if format_value(value) == invalid.value:
            return (end,), f"{end} is {invalid.value}, {invalid.requirement}"
    return (), str(invalid)


def _origin(draw: SampledConfig, path: KeyPath) -> KeyPath:
    """Where in the file the value at `path` was written, or would have to be."""
    known = path
    while known not in draw.origin:
        known = known[:-1]
    return (*draw.origin[known], *path[len(known) :])


def sweep_problems(sweep: SweepConfig, tree: Any, document: Document) -> Iterator[Problem]:
    """What does not fit between the sweep section and the parameters."""
    names = parameter_names(tree)
    found = distributions(tree)
    for key, reason in ONE_PER_SWEEP.items():
        for place in (KeyPath((key,)), (key, "name")):
            value = get_path(tree, place)
            if isinstance(value, Distribution | SameAs):
                what = "a reference" if isinstance(value, SameAs) else "a distribution"
                text = f"is {what} ({value}), must be one value for the whole sweep: {reason}"
                yield Problem(document.location(place), dotted(document.data, place), text)
    device = str(tree.get("device")).partition("cuda:")[2]
    gpus = 1 if sweep.resources.gpu == "auto" else max(1, sweep.resources.gpu)
    if device.isdecimal() and len(device) < 4 and int(device) >= gpus:
        text = f"is 'cuda:{device}', must be cuda: a trial numbers the GPUs that it is given from 0; "
        text += f"CUDA_VISIBLE_DEVICES={device} gives this one to the whole sweep"
        yield Problem(document.location(("device",)), "device", text)
    if not found and (sweep.trials or 1) > 1:
        reason = f"is {sweep.trials}, but no value of the file is a distribution: there is one config to try"
        yield Problem(document.location(("sweep", "trials")), "sweep.trials", reason)
    if sweep.search.sampler == "grid":
        for path, distribution in found.items():
            if distribution.size() > MAX_GRID:
                size = "infinitely many" if math.isinf(distribution.size()) else f"{distribution.size():,.0f}"
                reason = f"has {size} values, the grid sampler takes at most {MAX_GRID:,}; give a step or list choices"
                yield Problem(document.location(path), names[path], reason)
    parameters = {names[path]: distribution for path, distribution in found.items()}
    fixed: dict[str, list[KeyPath]] = {}
    for path, name, _ in walk(tree):
        if name and name not in parameters:
            fixed.setdefault(name, []).append(path)
    whole: list[tuple[int, dict[str, Any]]] = []
    for index, values in enumerate(sweep.enqueue):
        for name, value in values.items():
            location = document.location(("sweep", "enqueue", index, name))
            refused = (
                _fixed_reason(name, value, location, fixed[name], tree, document)
                if name in fixed
                else _searched_reason(name, value, parameters)
            )
            if refused:
                yield Problem(location, f"sweep.enqueue.{index}.{name}", refused)
        drawn = None if fixed.keys() & values.keys() else _drawn(values, tree, names)
        same = [earlier for earlier, config in whole if config == drawn]
        if same:
            reason = f"is the same config as sweep.enqueue.{same[0]}; leave one out"
            yield Problem(document.location(("sweep", "enqueue", index)), f"sweep.enqueue.{index}", reason)
        elif drawn:
            whole.append((index, drawn))


def _searched_reason(name: str, value: Any, parameters: dict[str, Distribution]) -> str | None:
    """Why an enqueued value cannot be drawn; None if it can."""
    if name not in parameters:
        return f"no value of this name is searched{did_you_mean(name, parameters) or _listed(parameters)}"
    if not parameters[name].contains(value):
        return f"is {format_value(value)}, must be drawable from {parameters[name]}"
    return None


def _fixed_reason(
    name: str, value: Any, location: SourceLocation, fixed_at: list[KeyPath], tree: Any, document: Document
) -> str | None:
    """Why a key cannot be enqueued that is not searched; None if it has the enqueued value anyway, or if the command
    line has fixed it for this sweep.

    location: of the enqueued value. fixed_at: the paths of the key's values, several if they stand under a choice.
    """
    if SET in {document.location(path).source for path in fixed_at} - {location.source}:
        return None
    found = [get_path(tree, path) for path in fixed_at]
    if any(to_plain(there) == value for there in found if not isinstance(there, SameAs)):
        return None
    inside = [child for there in found for _, child, part in walk(there, name=name) if isinstance(part, Distribution)]
    if inside:
        return f"holds searched values; write each by its own dotted path, such as {inside[0]}"
    if isinstance(found[0], SameAs):
        return f"is always the value of {found[0].same_as}; leave it out"
    there = " or ".join(dict.fromkeys(format_value(to_plain(value)) for value in found))
    return f"is {format_value(value)}, but it is not searched and always {there}; leave it out, or search it"


def _drawn(values: dict[str, Any], tree: Any, names: dict[KeyPath, str]) -> dict[str, Any] | None:
    """Those of `values` that a config is drawn from; None if they leave a value open or do not fit."""
    drawn: dict[str, Any] = {}

    def suggest(path: KeyPath, _: Distribution) -> Any:
        drawn[names[path]] = values[names[path]]
        return drawn[names[path]]

    try:
        SampledConfig(tree, suggest)
    except (KeyError, ValueError):  # not given, or no label of the choice
        return None
    return drawn


def _listed(parameters: Iterable[str]) -> str:
    names = list(parameters)
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"; searched: {', '.join(names[:MAX_LISTED])}{more}" if names else ""
