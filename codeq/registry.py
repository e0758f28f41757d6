"""The registry of models, data sets, loss terms and quantizers, each with the schema of its `kwargs`.

A part is a function or class with one of the decorators of `codeq.plugins`. Its annotated signature is the schema:
names, types, defaults, and ranges as `Annotated[..., pydantic.Field(ge=0)]`. The schema omits the arguments that the
package passes itself (number of classes, data folder, ...). `codeq.builtin_parts` registers the built-in parts the same
way.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic import create_model as create_pydantic_model

from codeq.config.errors import SourceLocation, did_you_mean, format_value
from codeq.config.types import StrictModel, invalid

Definition = TypeVar("Definition", bound=Callable[..., Any])

PLUGIN_MODULE = "codeq_plugin_"
"""Prefix of the module name of every plug-in."""
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

    supplied: the parameters in `SUPPLIED` that the definition declares. schema: validates `kwargs`; each parameter is a
    field with its name as alias, so that any name is allowed.
    """

    kind: str
    name: str
    definition: Callable[..., Any]
    location: SourceLocation
    supplied: frozenset[str]
    schema: type[StrictModel]

    @property
    def is_plugin(self) -> bool:
        """Whether a user added it."""
        return self.definition.__module__.startswith(PLUGIN_MODULE)

    def check(self, kwargs: Any) -> dict[str, Any]:
        """Return `kwargs` as plain data, with defaults. Raises pydantic's ValidationError."""
        plain: dict[str, Any] = _lists(self.schema.model_validate(kwargs).model_dump(by_alias=True))
        return plain

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
        return PluginError(f"{location}: {self.kind} {self.name}: {' '.join(reason.split())}")


SUPPLIED = {
    "model": {"in_channels", "img_size", "num_classes", "pretrained", "name"},
    "data set": {"data_dir", "img_size", "workers"},
    "loss term": set[str](),
    "quantizer": set[str](),
}
"""The keywords that the package passes, by kind. A loss term also gets the model, as its first positional argument."""


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
                there = self._parts[name]
                whose = f"by {there.location}" if there.is_plugin else "by one that ships"
                raise RegistrationError(f"{what}: the name is taken {whose}; choose another")
            self._parts[name] = _part(self.kind, name, definition, what)
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


def _part(kind: str, name: str, definition: Callable[..., Any], what: str) -> Part:
    if kind == "quantizer" and isinstance(definition, type) and not hasattr(definition, "get_bitwidth"):
        raise RegistrationError(f"{what}: the class has no method get_bitwidth, which gives the bits of a weight")
    try:
        signature = inspect.signature(definition)
    except (TypeError, ValueError):
        raise RegistrationError(f"{what}: its signature cannot be read; write it as a function") from None
    # A module that inherits nn.Module's __init__: its signature accepts any argument, its body rejects them.
    bases = definition.__mro__ if isinstance(definition, type) else ()
    owner = next((base for base in bases if "__init__" in vars(base)), None)
    is_torchs = owner is not None and owner.__module__.startswith("torch.")
    parameters = [] if is_torchs else list(signature.parameters.values())
    if kind == "loss term":
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise RegistrationError(f"{what}: must take the model as its first parameter")
        del parameters[0]
    supplied = frozenset(p.name for p in parameters if p.name in SUPPLIED[kind])
    schema = _schema(what, definition, [p for p in parameters if p.name not in supplied], SUPPLIED[kind])
    code = getattr(inspect.unwrap(definition), "__code__", None) or getattr(definition.__init__, "__code__", None)
    location = SourceLocation(code.co_filename, code.co_firstlineno) if code else SourceLocation(definition.__module__)
    return Part(kind, name, definition, location, supplied, schema)


def _schema(
    what: str, definition: Callable[..., Any], parameters: list[inspect.Parameter], supplied: set[str]
) -> type[StrictModel]:
    """Return the schema of the parameters; with `**kwargs` it accepts any key that is not in `supplied`.

    Raises RegistrationError for a parameter without a type that pydantic supports.
    """
    fields: dict[str, Any] = {}
    base: type[StrictModel] = _Kwargs
    for index, parameter in enumerate(parameters):
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise RegistrationError(f"{what}: parameter {parameter.name} cannot be passed by its name")
        annotation = _annotation(what, definition, parameter)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            base = _open_schema(annotation, supplied)
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[f"p{index}"] = (annotation, Field(default, alias=parameter.name, validate_default=True))
        _check_annotation(what, parameter.name, {"p": fields[f"p{index}"]})
    schema: type[StrictModel] = create_pydantic_model(f"{what} kwargs", __base__=base, **fields)
    return schema


class _Kwargs(StrictModel):
    model_config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=False)


def _open_schema(annotation: Any, supplied: set[str]) -> type[StrictModel]:
    """Return the base of a schema that accepts any key that is not in `supplied`, with values of one type."""

    def refuse_supplied(data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key in supplied:
                raise invalid(f"holds {key}, which is not an argument here: the data set or the config gives it", key)
        return data

    body = {
        "refuse_supplied": model_validator(mode="before")(refuse_supplied),
        "__annotations__": {"__pydantic_extra__": dict[str, annotation]},
        "__module__": __name__,
        "model_config": ConfigDict(extra="allow"),
    }
    return type("_OpenKwargs", (_Kwargs,), body)


def _annotation(what: str, definition: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        example = parameter.default if isinstance(parameter.default, int | float | str) else 3
        advice = f"write {parameter.name}: {type(example).__name__} = {example!r}"
        raise RegistrationError(f"{what}: parameter {parameter.name} has no type; {advice}")
    if isinstance(annotation, str):
        function: Any = definition.__init__ if isinstance(definition, type) else inspect.unwrap(definition)  # type: ignore[misc]
        try:
            annotation = eval(annotation, function.__globals__)
        except Exception as error:
            reason = f"{annotation} cannot be evaluated ({type(error).__name__}: {error})"
            raise RegistrationError(f"{what}: the type of {parameter.name}, {reason}") from None
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    # YAML has no tuples, so a list is accepted; the items stay strict.
    return Annotated[annotation, Strict(False)] if tuple in (plain, get_origin(plain)) else annotation


def _check_annotation(what: str, name: str, field: dict[str, Any]) -> None:
    """Raise RegistrationError for a type that pydantic does not support or a default that its type rejects."""
    try:
        schema = create_pydantic_model("schema", __base__=_Kwargs, **field)
        if not schema.model_fields["p"].is_required():
            schema.model_validate({})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        default = format_value(field["p"][1].default)
        raise RegistrationError(f"{what}: the default of {name} is {default}: {reason}") from None
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, RuntimeError) as error:
        shown = getattr(field["p"][0], "__name__", field["p"][0])
        reason = str(error).split("\n")[0].split(". Set")[0]
        more = "kwargs are numbers, text, true, false, lists and mappings of them"
        raise RegistrationError(f"{what}: the type of {name} is {shown}, {more} ({reason})") from None


def _lists(value: Any) -> Any:
    """Return plain data with tuples converted to lists."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
