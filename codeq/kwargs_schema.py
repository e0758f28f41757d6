"""The schema of a part's `kwargs`, from the annotated signature of its function or class.

Names, types, defaults, and ranges as `Annotated[..., pydantic.Field(ge=0)]`. The schema omits the arguments that the
package passes itself (number of classes, data folder, ...).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, Field, PydanticUserError, Strict, TypeAdapter, ValidationError, model_validator
from pydantic import create_model as create_pydantic_model

from codeq.config.errors import format_value
from codeq.config.types import StrictModel, invalid

_SCALARS = (int, float, str, bool, None, type(None), Any)
_CONTAINERS = (list, tuple, dict, Sequence, Mapping)


class InvalidSignature(ValueError):
    """A definition cannot be registered; the message says why."""


class _Kwargs(StrictModel):
    model_config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=False)


def parameters_of(definition: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function, or those with which a class is created. Raises InvalidSignature."""
    if isinstance(definition, type) and _is_torch_module_init(definition):
        return []
    try:
        return list(inspect.signature(definition).parameters.values())
    except (TypeError, ValueError):
        raise InvalidSignature("its signature cannot be read; write it as a function") from None


def kwargs_schema(
    definition: Callable[..., Any], parameters: Collection[inspect.Parameter], supplied: Collection[str]
) -> type[StrictModel]:
    """Return the schema of `parameters`; each is a field with the parameter's name as alias: any name will do.

    supplied: names that the package passes, which `**kwargs` does not accept. Raises InvalidSignature for a parameter
    without a type, with a type that YAML cannot spell, or with a default that its type rejects.
    """
    fields: dict[str, Any] = {}
    base: type[StrictModel] = _Kwargs
    for index, parameter in enumerate(parameters):
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise InvalidSignature(f"parameter {parameter.name} cannot be passed by its name")
        annotation = _checked_type(definition, parameter)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            base = _open_schema(annotation, supplied)
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[f"p{index}"] = (annotation, Field(default, alias=parameter.name, validate_default=True))
    schema: type[StrictModel] = create_pydantic_model("kwargs", __base__=base, **fields)
    return schema


def to_plain(kwargs: StrictModel) -> dict[str, Any]:
    """Return validated kwargs as YAML can hold them: tuples become lists."""
    plain: dict[str, Any] = _lists(kwargs.model_dump(by_alias=True))
    return plain


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _is_torch_module_init(definition: type) -> bool:
    """Whether a class inherits nn.Module's __init__, whose signature accepts arguments that its body rejects."""
    owner = next((base for base in definition.__mro__ if "__init__" in vars(base)), object)
    return (owner.__module__, owner.__name__) == ("torch.nn.modules.module", "Module")


def _open_schema(annotation: Any, supplied: Collection[str]) -> type[StrictModel]:
    """Return the base of a schema that accepts any key that is not in `supplied`, with values of one type."""

    def refuse_supplied(data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key in supplied:
                raise invalid(f"holds {key}, which the data set or the config sets; leave it out", key)
        return data

    body = {
        "refuse_supplied": model_validator(mode="before")(refuse_supplied),
        "__annotations__": {"__pydantic_extra__": dict[str, annotation]},
        "__module__": __name__,
        "model_config": ConfigDict(extra="allow"),
    }
    return type("_OpenKwargs", (_Kwargs,), body)


def _checked_type(definition: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter. Raises InvalidSignature if it has none, or one that cannot be checked."""
    annotation, name = parameter.annotation, parameter.name
    if annotation is inspect.Parameter.empty:
        example = parameter.default if isinstance(parameter.default, int | float | str) else 3
        advice = f"{name}: {type(example).__name__} = {example!r}"
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            advice = f"**{name}: float"
        raise InvalidSignature(f"parameter {name} has no type; write {advice}")
    if isinstance(annotation, str):
        function: Any = definition.__init__ if isinstance(definition, type) else inspect.unwrap(definition)  # type: ignore[misc]
        try:
            annotation = eval(annotation, function.__globals__)
        except Exception as error:
            reason = f"{annotation} cannot be evaluated ({type(error).__name__}: {error})"
            raise InvalidSignature(f"the type of {name}, {reason}") from None
    try:
        checked = _yaml_type(annotation)
        validator = TypeAdapter(checked, config=ConfigDict(strict=True, allow_inf_nan=False))
    except (PydanticUserError, TypeError, RuntimeError) as error:
        shown = getattr(annotation, "__name__", annotation)
        more = "kwargs are numbers, text, true, false, null, lists and mappings of them"
        raise InvalidSignature(f"the type of {name} is {shown}, {more} ({str(error).splitlines()[0]})") from None
    if parameter.default is not inspect.Parameter.empty:
        try:
            validator.validate_python(parameter.default)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InvalidSignature(f"the default of {name} is {format_value(parameter.default)}: {reason}") from None
    return checked


def _yaml_type(annotation: Any) -> Any:
    """Return `annotation` with tuples that accept a list, because YAML has no tuples; their items stay strict.

    Raises TypeError for a type whose values YAML cannot spell.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is tuple or origin is tuple:
        items = tuple(item if item is ... else _yaml_type(item) for item in arguments)
        return Annotated[tuple.__class_getitem__(items) if items else tuple, Strict(False)]
    if annotation in _SCALARS or annotation in _CONTAINERS:
        return annotation
    if origin is Literal and all(type(value) in _SCALARS for value in arguments):
        return annotation
    if origin is Annotated:
        return Annotated[(_yaml_type(arguments[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_yaml_type, arguments))]  # noqa: UP007
    if origin in _CONTAINERS:
        return origin[tuple(map(_yaml_type, arguments))]
    raise TypeError(f"{getattr(annotation, '__name__', annotation)} cannot be written in YAML")
