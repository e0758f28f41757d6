"""The registry of models, data sets, loss terms and quantizers, each with the schema of its `kwargs`.

A part is a function or class with one of the decorators of `codeq.plugins`. Its annotated signature is the schema, see
`codeq.kwargs_schema`. `codeq.builtin_parts` registers the built-in parts the same way.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from codeq.config.errors import SourceLocation, did_you_mean, format_value
from codeq.config.text import one_line
from codeq.config.types import StrictModel
from codeq.kwargs_schema import InvalidSignature, kwargs_schema, parameters_of, to_plain

Definition = TypeVar("Definition", bound=Callable[..., Any])

plugin_source: ContextVar[str | None] = ContextVar("plugin_source", default=None)
"""The plug-in file that is being run: what is registered meanwhile belongs to it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_FAMILY = "timm/NAME"
"""The one entry that matches many names."""


class RegistrationError(ValueError):
    """A part cannot be registered; the message says why."""


class PluginError(ValueError):
    """A plug-in raised or returned a wrong value; one line that contains the plug-in's file and line."""


@dataclass(frozen=True)
class Part:
    """A registered function or class.

    location: where it is defined. plugin: the plug-in file that registered it, None for a built-in part. supplied: the
    parameters that the package passes itself and the definition declares. schema: validates `kwargs`, see
    `codeq.kwargs_schema`.
    """

    kind: str
    name: str
    definition: Callable[..., Any]
    location: SourceLocation
    plugin: str | None
    supplied: frozenset[str]
    schema: type[StrictModel]

    @property
    def is_plugin(self) -> bool:
        """Whether a user added it."""
        return self.plugin is not None

    def check(self, kwargs: Any) -> dict[str, Any]:
        """Return `kwargs` as plain data, with defaults. Raises pydantic's ValidationError."""
        return to_plain(self.schema.model_validate(kwargs))

    def arguments(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked `kwargs` in the types that the definition declares (a list becomes a tuple if it says so)."""
        values = self.schema.model_validate(kwargs)
        named = {str(field.alias): getattr(values, name) for name, field in type(values).model_fields.items()}
        return named | (values.__pydantic_extra__ or {})

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call the definition; keywords of `SUPPLIED` that it does not declare are left out.

        Raises PluginError for every exception of a plug-in.
        """
        undeclared = SUPPLIED[self.kind] - self.supplied
        passed = {name: value for name, value in keywords.items() if name not in undeclared}
        try:
            return self.definition(*args, **passed)
        except Exception as error:
            if not self.is_plugin:
                raise
            raise self.error(f"{type(error).__name__}: {error}", error) from error

    def error(self, reason: str, cause: BaseException | None = None) -> PluginError:
        """Return a PluginError whose one line contains `reason` and the plug-in's line that raised `cause`."""
        line = (cause and line_in(cause, self.location.source)) or self.location.line
        location = SourceLocation(self.location.source, line)
        return PluginError(f"{location}: {self.kind} {self.name}: {one_line(reason)}")


SUPPLIED = {
    "model": {"in_channels", "img_size", "num_classes", "pretrained"},
    "data set": {"data_dir", "img_size", "workers"},
    "loss term": set[str](),
    "quantizer": set[str](),
}
"""The keywords that the package passes, by kind. A loss term also gets the model, as its first positional argument;
`timm/NAME` also gets the name."""


class Registry:
    """The parts of one kind by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Part] = {}

    def register(self, name: str) -> Callable[[Definition], Definition]:
        """Return a decorator that registers a function or class as `name`.

        Raises RegistrationError for a name that is taken or contains other characters than letters, digits, `_`, `.`
        and `-`, and for a signature without the types that are needed to check `kwargs`.
        """

        what = f"{self.kind} {name}"
        if not isinstance(name, str):
            raise RegistrationError(f"{self.kind}: the decorator needs a name in parentheses and quotes")
        if not (_NAME.fullmatch(name) or name == _FAMILY):
            allowed = "must be at most 64 letters, digits, '_', '.' and '-', the first a letter or digit"
            raise RegistrationError(f"{self.kind}: the name is {format_value(name)}, {allowed}")

        def add(definition: Definition) -> Definition:
            load_builtin_parts()
            if name in self._parts:
                existing = self._parts[name]
                whose = f"registered by {existing.location}" if existing.is_plugin else "built in"
                raise RegistrationError(f"{what}: this name is {whose}; choose another")
            try:
                self._parts[name] = _part(self.kind, name, definition)
            except InvalidSignature as error:
                raise RegistrationError(f"{what}: {error}") from None
            return definition

        return add

    def names(self) -> tuple[str, ...]:
        """Return all registered names, built-in ones first; `timm/NAME` matches any timm model."""
        load_builtin_parts()
        return tuple(self._parts)

    def __iter__(self) -> Iterator[Part]:
        load_builtin_parts()
        return iter(tuple(self._parts.values()))

    def find(self, name: object) -> Part | None:
        """Return the part of that name, or None."""
        load_builtin_parts()
        if isinstance(name, str) and re.fullmatch(r"timm/[\w.\-]+", name):
            return self._parts.get(_FAMILY)
        return self._parts.get(name) if isinstance(name, str) else None

    def __getitem__(self, name: str) -> Part:
        """Return the part of that name. Raises ValueError with the known names and the nearest one if there is none."""
        part = self.find(name)
        if part is None:
            hint = did_you_mean(name, self.names())
            raise ValueError(f"unknown {self.kind} {name!r}, must be one of {join_names(self.names())}{hint}")
        return part

    def snapshot(self) -> dict[str, Part]:
        """Return the registered parts, for `restore`."""
        load_builtin_parts()
        return dict(self._parts)

    def restore(self, parts: Mapping[str, Part]) -> None:
        """Remove the parts that were registered since the snapshot."""
        self._parts = dict(parts)


MODELS, DATASETS, LOSS_TERMS, QUANTIZERS = map(Registry, SUPPLIED)
REGISTRIES = {registry.kind: registry for registry in (MODELS, DATASETS, LOSS_TERMS, QUANTIZERS)}


def load_builtin_parts() -> None:
    """Register the built-in parts, once, at the first look-up, so that no caller has to import them."""
    importlib.import_module("codeq.builtin_parts")


def join_names(names: Collection[str]) -> str:
    """Return the names as a message lists them; `timm/NAME` comes last."""
    plain = ", ".join(name for name in names if name != _FAMILY)
    return f"{plain} or {_FAMILY}" if _FAMILY in names else plain


def line_in(error: BaseException, source: str) -> int | None:
    """Return the last line of the file `source` in the traceback of `error`, or None."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
    return lines[-1] if lines else None


def _part(kind: str, name: str, definition: Callable[..., Any]) -> Part:
    """Raises InvalidSignature if the definition cannot be called as a part of this kind."""
    if kind == "quantizer" and isinstance(definition, type) and not hasattr(definition, "get_bitwidth"):
        raise InvalidSignature("the class has no method get_bitwidth, which gives the bits of a weight")
    parameters = parameters_of(definition)
    if kind == "loss term":
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise InvalidSignature("must take the model as its first parameter")
        del parameters[0]
    passed = SUPPLIED[kind] | ({"name"} if name == _FAMILY else set())
    supplied = frozenset(p.name for p in parameters if p.name in passed)
    schema = kwargs_schema(definition, [p for p in parameters if p.name not in supplied], passed)
    plugin = plugin_source.get()
    return Part(kind, name, definition, _location(definition, plugin), plugin, supplied, schema)


def _location(definition: Callable[..., Any], plugin: str | None) -> SourceLocation:
    """Where the definition is written; for one that a plug-in has imported, the line that registers it."""
    code = getattr(inspect.unwrap(definition), "__code__", None) or getattr(definition.__init__, "__code__", None)
    if code is not None and plugin in (None, code.co_filename):
        return SourceLocation(code.co_filename, code.co_firstlineno)
    lines = [frame.lineno for frame in traceback.extract_stack() if frame.filename == plugin]
    return SourceLocation(plugin or str(definition.__module__), lines[-1] if lines else None)
