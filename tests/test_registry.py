"""The one registry: what ships is in it, and what a signature says is what `kwargs` may hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from codeq.registry import DATASETS, LOSS_TERMS, MODELS, QUANTIZERS, Part, RegistrationError, Registry
from tests.conftest import ROOT


def registered(definition: Callable[..., Any], kind: str = "model", name: str = "mine") -> Part:
    registry = Registry(kind)
    registry.register(name)(definition)
    return registry[name]


def test_what_ships_is_registered() -> None:
    assert MODELS.names() == (
        "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "mlp", "vit", "timm/NAME",
    )  # fmt: skip
    assert DATASETS.names() == ("cifar10", "cifar100", "fashion_mnist", "digits", "imagefolder", "synthetic")
    assert LOSS_TERMS.names() == ("group_lasso",)
    assert QUANTIZERS.names() == ("deadzone", "uniform")


@pytest.mark.parametrize("module", ["codeq.registry", "codeq.plugins", "codeq.config", "codeq.builtin_parts"])
def test_every_module_may_be_imported_first_and_none_imports_torch(module: str) -> None:
    code = (
        f"import sys, {module}; from codeq.registry import MODELS; "
        "print(len(MODELS.names()), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "8 False False\n", done.stderr


def test_an_unknown_name_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown data set 'digit', must be one of cifar10, .* mean digits?"):
        DATASETS["digit"]
    with pytest.raises(ValueError, match="unknown model 'resnet21', must be one of .* or timm/NAME; did you mean"):
        MODELS["resnet21"]
    with pytest.raises(ValueError, match="unknown loss term 'x', must be one of group_lasso$"):
        LOSS_TERMS["x"]


@pytest.mark.parametrize(
    ("registry", "name"), [(MODELS, "mlp"), (DATASETS, "digits"), (LOSS_TERMS, "group_lasso"), (QUANTIZERS, "uniform")]
)
def test_a_name_that_ships_cannot_be_taken(registry: Registry, name: str) -> None:
    before = registry[name]
    with pytest.raises(RegistrationError, match=f"{registry.kind} {name}: this name is built in"):
        registry.register(name)(lambda model: None)
    assert registry[name] is before


@pytest.mark.parametrize("name", ["", "a b", "timm/x", "a/b", ".a", "-a", "größe", "a\nb", "x" * 65])
def test_a_name_is_made_of_plain_letters(name: str) -> None:
    with pytest.raises(RegistrationError, match="must be at most 64 letters, digits"):
        Registry("model").register(name)


def test_a_decorator_without_a_name_is_told() -> None:
    with pytest.raises(RegistrationError, match="needs a name in parentheses and quotes"):
        Registry("model").register(lambda *, num_classes: None)  # type: ignore[arg-type]


def test_supplied_parameters_are_no_kwargs_and_are_passed_where_they_are_declared() -> None:
    def definition(*, num_classes: int, width: int = 3) -> tuple[int, int]:
        return num_classes, width

    part = registered(definition)
    assert part.supplied == {"num_classes"}
    assert part.check({}) == {"width": 3}
    assert part(in_channels=1, img_size=8, num_classes=10, **part.arguments({"width": 5})) == (10, 5)


def test_a_loss_term_gets_the_model_whatever_its_parameter_is_called() -> None:
    def term(net: Any, factor: float = 2.0) -> tuple[Any, float]:
        return net, factor

    part = registered(term, "loss term")
    assert part.check({"factor": 3}) == {"factor": 3.0}
    assert part("model", **part.arguments({})) == ("model", 2.0)
    with pytest.raises(RegistrationError, match="must take the model as its first parameter"):
        registered(lambda: None, "loss term")


def everything(
    *,
    a: Annotated[int, Field(ge=2, le=5, description="how many")],
    b: float = 0.5,
    c: bool = True,
    d: Literal["x", "y"] = "x",
    e: list[int] = [1, 2],  # noqa: B006
    f: tuple[int, ...] = (3, 4),
    g: int | None = None,
    model_dump: str = "any name will do",
    copy: dict[str, float] = {},  # noqa: B006
    pair: tuple[int, int] | None = None,
    pairs: Annotated[list[tuple[int, float]], Field(max_length=2)] = [],  # noqa: B006
    sizes: Sequence[int] = (1,),
) -> dict[str, Any]:
    return locals()


def test_kwargs_are_plain_data_with_every_default_and_reach_the_function_as_it_declares_them() -> None:
    part = registered(everything)
    plain = part.check({"a": 2, "b": 1, "f": [7], "pair": [1, 2], "pairs": [[3, 4]]})
    assert plain == {
        "a": 2, "b": 1.0, "c": True, "d": "x", "e": [1, 2], "f": [7], "g": None, "model_dump": "any name will do",
        "copy": {}, "pair": [1, 2], "pairs": [[3, 4.0]], "sizes": [1],
    }  # fmt: skip
    assert type(plain["b"]) is float
    assert part.check(plain) == plain
    assert part(**part.arguments(plain)) == {**plain, "f": (7,), "pair": (1, 2), "pairs": [(3, 4.0)]}


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        ({}, "a"),
        ({"a": 1}, "a"),
        ({"a": 6}, "a"),
        ({"a": "2"}, "a"),
        ({"a": 2.0}, "a"),
        ({"a": True}, "a"),
        ({"a": 2, "b": float("nan")}, "b"),
        ({"a": 2, "b": float("inf")}, "b"),
        ({"a": 2, "c": 1}, "c"),
        ({"a": 2, "d": "z"}, "d"),
        ({"a": 2, "e": [1.5]}, "e"),
        ({"a": 2, "f": ["1"]}, "f"),
        ({"a": 2, "g": "x"}, "g"),
        ({"a": 2, "pair": [1, 2.5]}, "pair"),
        ({"a": 2, "pairs": [[1, 2], [3, 4], [5, 6]]}, "pairs"),
        ({"a": 2, "unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_type_a_value_out_of_range_and_an_unknown_key_are_refused(kwargs: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as raised:
        registered(everything).check(kwargs)
    assert [error["loc"][0] for error in raised.value.errors()] == [key]


def test_a_function_may_take_any_key_but_those_it_is_supplied_with() -> None:
    def definition(*, num_classes: int, a: int = 1, **kwargs: float) -> dict[str, Any]:
        return {"a": a, **kwargs}

    part = registered(definition)
    assert part.check({"b": 2}) == {"a": 1, "b": 2.0}
    assert part(num_classes=3, **part.arguments({"b": 2, "a": 5})) == {"a": 5, "b": 2.0}
    for refused in ({"b": "x"}, {"img_size": 3}):
        with pytest.raises(ValidationError):
            part.check(refused)


def untyped(*, a=3):  # type: ignore[no-untyped-def]
    ...


def unknown_type(*, a: NoSuchName = 3) -> None:  # type: ignore[name-defined]  # noqa: F821
    ...


def strange_type(*, a: Registry) -> None: ...


def bad_default(*, a: Annotated[int, Field(ge=3)] = 1) -> None: ...


def positional(a: int, /) -> None: ...


def starred(*a: int) -> None: ...


def untyped_keywords(**kwargs):  # type: ignore[no-untyped-def]
    ...


def strange_keywords(**kwargs: Registry) -> None: ...


def a_path(*, a: Path = Path(".")) -> None: ...


def a_set(*, a: set[int]) -> None: ...


def nested_path(*, a: dict[str, list[Path]]) -> None: ...


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        (untyped, "parameter a has no type; write a: int = 3"),
        (unknown_type, r"the type of a, NoSuchName cannot be evaluated \(NameError"),
        (strange_type, "the type of a is Registry, kwargs are numbers, text, true, false, null, lists and mappings of"),
        (bad_default, "the default of a is 1: Input should be greater than or equal to 3"),
        (positional, "parameter a cannot be passed by its name"),
        (starred, "parameter a cannot be passed by its name"),
        (untyped_keywords, r"parameter kwargs has no type; write \*\*kwargs: float"),
        (strange_keywords, "the type of kwargs is Registry, kwargs are numbers"),
        (a_path, "the type of a is Path, kwargs are numbers"),
        (a_set, r"the type of a is set, kwargs are numbers.* \(set cannot be written in YAML\)"),
        (nested_path, "the type of a is .*Path.* cannot be written in YAML"),
    ],
)
def test_a_signature_that_cannot_be_checked_by_is_refused(definition: Callable[..., Any], reason: str) -> None:
    with pytest.raises(RegistrationError, match=f"^model mine: {reason}"):
        registered(definition)


def test_a_quantizer_class_needs_get_bitwidth_and_may_lack_an_init() -> None:
    from torch import nn

    class Half(nn.Module): ...

    class Whole(nn.Module):
        def get_bitwidth(self) -> None: ...

    with pytest.raises(RegistrationError, match="quantizer mine: the class has no method get_bitwidth"):
        registered(Half, "quantizer")
    assert registered(Whole, "quantizer").check({}) == {}
