"""The four distributions a value may be, and the reference that ties one value to another."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from codeq.config.errors import format_value
from codeq.config.types import FiniteFloat, NonEmptyString, PositiveFloat, PositiveInt, StrictModel, invalid

ExactInt = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""An integer that is exact as a float, as which a study stores it."""


class Uniform(StrictModel):
    """A float between low and high, both included; with a step, one of low, low + step, ..., high."""

    distribution: Literal["uniform"]
    low: FiniteFloat = Field(description="smallest value")
    high: FiniteFloat = Field(description="largest value")
    step: PositiveFloat | None = Field(None, description="grid width")

    @model_validator(mode="after")
    def _check(self) -> Uniform:
        _check_order(self.low, self.high)
        if self.step is not None:
            _check_step(self.low, self.high, self.step)
        return self

    def bounds(self) -> dict[str, Any]:
        """The bounds, at which the range is checked, by their keys in the file."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        inside = _is_number(value) and self.low <= value <= self.high
        return inside and (self.step is None or _on_grid(value - self.low, self.step))

    def size(self) -> float:
        """How many values there are; infinite without a step."""
        return math.inf if self.step is None else round((self.high - self.low) / self.step) + 1

    def __str__(self) -> str:
        step = "" if self.step is None else f" step {self.step:.12g}"
        return f"uniform [{self.low:.12g}, {self.high:.12g}]{step}"


class LogUniform(StrictModel):
    """A float between low and high, both included, uniform in its logarithm."""

    distribution: Literal["loguniform"]
    low: FiniteFloat = Field(description="smallest value, above 0")
    high: FiniteFloat = Field(description="largest value")

    @model_validator(mode="after")
    def _check(self) -> LogUniform:
        _check_positive(self.low)
        _check_order(self.low, self.high)
        return self

    def bounds(self) -> dict[str, Any]:
        """The bounds, at which the range is checked, by their keys in the file."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        return _is_number(value) and self.low <= value <= self.high

    def size(self) -> float:
        """How many values there are: infinitely many."""
        return math.inf

    def __str__(self) -> str:
        return f"loguniform [{self.low:.12g}, {self.high:.12g}]"


class Int(StrictModel):
    """An integer between low and high, both included; log: uniform in its logarithm."""

    distribution: Literal["int"]
    low: ExactInt = Field(description="smallest value")
    high: ExactInt = Field(description="largest value")
    step: PositiveInt = Field(1, description="grid width")
    log: bool = Field(False, description="uniform in the logarithm; excludes a step")

    @model_validator(mode="after")
    def _check(self) -> Int:
        _check_order(self.low, self.high)
        if self.log:
            _check_positive(self.low)
            if self.step != 1:
                raise invalid("log and step exclude each other; leave one out", loc="step")
        _check_step(self.low, self.high, self.step)
        return self

    def bounds(self) -> dict[str, Any]:
        """The bounds, at which the range is checked, by their keys in the file."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        inside = _is_number(value) and isinstance(value, int) and self.low <= value <= self.high
        return inside and _on_grid(value - self.low, self.step)

    def size(self) -> float:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def __str__(self) -> str:
        suffix = " log" if self.log else f" step {self.step}" if self.step != 1 else ""
        return f"int [{self.low}, {self.high}]{suffix}"


class Choice(StrictModel):
    """One of the listed values; a choice may be a mapping that holds distributions itself."""

    distribution: Literal["choice"]
    choices: Annotated[list[Any], Field(min_length=1, max_length=1000)] = Field(description="the values")

    _labels: list[Any] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Choice:
        self._labels = _labels(self.choices)
        first: dict[Any, int] = {}
        for index, label in enumerate(self._labels):
            if first.setdefault(label, index) != index:
                same = f"choices.{index} ({format_value(self.choices[index])}) is the same as choices.{first[label]}"
                raise invalid(f"{same}; leave one out", loc="choices")
        return self

    @property
    def labels(self) -> list[Any]:
        """The name of each choice in studies and tables.

        A scalar is its own label; a mapping or list is named by the parts that differ from the other choices.
        """
        return list(self._labels)

    def bounds(self) -> dict[str, Any]:
        """The labels, each of which is checked, by their keys in the file."""
        return {f"choices.{index}": label for index, label in enumerate(self.labels)}

    def contains(self, value: Any) -> bool:
        """Whether `value` is the label of a choice."""
        return value in self.labels

    def size(self) -> float:
        """How many choices there are."""
        return len(self.choices)

    def __str__(self) -> str:
        return "choice of " + " | ".join(map(_text, self.labels))


UNLABELLED = "-"
"""The label of a mapping all of whose entries are in every other choice too."""

Distribution = Uniform | LogUniform | Int | Choice
DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "uniform": Uniform, "loguniform": LogUniform, "int": Int, "choice": Choice,
}  # fmt: skip


class SameAs(StrictModel):
    """The value of another key, by its dotted path."""

    same_as: NonEmptyString = Field(description="dotted path, such as optimizer.param_groups.base.lr")

    def __str__(self) -> str:
        return f"same as {self.same_as}"


def _check_order(low: float, high: float) -> None:
    if low >= high:
        raise invalid(f"low is {low}, must be below high ({high})", loc="low")
    if math.isinf(high - low):
        raise invalid(f"high is {high}, too far above low ({low})", loc="high")


def _check_positive(low: float) -> None:
    if low <= 0:
        raise invalid(f"low is {low}, must be above 0 for a logarithm", loc="low")


def _check_step(low: float, high: float, step: float) -> None:
    if _on_grid(high - low, step):
        return
    reason = f"step is {step}, must divide high - low ({high - low:.12g})"
    last = low + (high - low) // step * step
    raise invalid(reason + (f"; high: {last:.12g} would do" if low < last < high else ""), loc="step")


def _on_grid(offset: float, step: float) -> bool:
    if isinstance(offset, int) and isinstance(step, int):
        return offset % step == 0
    steps = offset / step
    return math.isfinite(steps) and math.isclose(steps, round(steps), rel_tol=1e-9, abs_tol=1e-9)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _labels(choices: list[Any]) -> list[Any]:
    if all(_is_scalar(choice) for choice in choices):
        return list(choices)
    leaves = [dict(_leaves(choice)) for choice in choices]
    plain = [{k: v for k, v in flat.items() if not k or not isinstance(v, StrictModel)} for flat in leaves]
    short = _differences(plain)
    return short if len(set(short)) == len(short) and UNLABELLED not in short else _differences(leaves)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for k, v in value.items() for leaf in _leaves(v, f"{path}.{k}" if path else str(k))]
    return [(path, value)]


def _differences(choices: list[dict[str, Any]]) -> list[str]:
    """Each choice by the leaves that are not the same in all mappings among the choices."""
    mappings = [{(key, _text(value)) for key, value in flat.items()} for flat in choices if "" not in flat]
    shared = set.intersection(*mappings) if len(mappings) > 1 else set()
    own = [[(k, v) for k, v in flat.items() if (k, _text(v)) not in shared] for flat in choices]
    return [", ".join(_text(value, key) for key, value in leaves) or UNLABELLED for leaves in own]


def _text(value: Any, key: str = "") -> str:
    is_plain = value is None or isinstance(value, bool | list | dict)
    text = json.dumps(value, default=str) if is_plain else f"({value})" if isinstance(value, Choice) else str(value)
    return f"{key}={text}" if key else text
