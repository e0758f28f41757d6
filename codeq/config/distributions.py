"""The four distributions a value may be, and the reference that ties one value to another."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from codeq.config.run import FiniteFloat, PositiveInt, Section, invalid


class Uniform(Section):
    """A float between low and high, both included; with a step, one of low, low + step, ..., high."""

    distribution: Literal["uniform"]
    low: FiniteFloat = Field(description="smallest value")
    high: FiniteFloat = Field(description="largest value")
    step: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = Field(None, description="grid width")

    @model_validator(mode="after")
    def _check(self) -> Uniform:
        _check_order(self.low, self.high)
        if self.step is not None:
            _check_step(self.low, self.high, self.step)
        return self

    def ends(self) -> dict[str, Any]:
        """The values at which the range is checked, by the name of the key that holds each."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        return _is_number(value) and self.low <= value <= self.high and _on_grid(value - self.low, self.step)

    def size(self) -> float:
        """How many values there are; infinite without a step."""
        return math.inf if self.step is None else round((self.high - self.low) / self.step) + 1

    def __str__(self) -> str:
        return f"uniform [{self.low:g}, {self.high:g}]" + (f" step {self.step:g}" if self.step else "")


class LogUniform(Section):
    """A float between low and high, both included, uniform in its logarithm."""

    distribution: Literal["loguniform"]
    low: FiniteFloat = Field(description="smallest value, above 0")
    high: FiniteFloat = Field(description="largest value")

    @model_validator(mode="after")
    def _check(self) -> LogUniform:
        _check_positive(self.low)
        _check_order(self.low, self.high)
        return self

    def ends(self) -> dict[str, Any]:
        """The values at which the range is checked, by the name of the key that holds each."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        return _is_number(value) and self.low <= value <= self.high

    def size(self) -> float:
        """How many values there are: infinitely many."""
        return math.inf

    def __str__(self) -> str:
        return f"loguniform [{self.low:g}, {self.high:g}]"


class Int(Section):
    """An integer between low and high, both included; log: uniform in its logarithm."""

    distribution: Literal["int"]
    low: int = Field(description="smallest value")
    high: int = Field(description="largest value")
    step: PositiveInt = Field(1, description="grid width")
    log: bool = Field(False, description="uniform in the logarithm; excludes a step")

    @model_validator(mode="after")
    def _check(self) -> Int:
        _check_order(self.low, self.high)
        if self.log:
            _check_positive(self.low)
            if self.step != 1:
                raise invalid("log and step exclude each other; leave one out")
        _check_step(self.low, self.high, self.step)
        return self

    def ends(self) -> dict[str, Any]:
        """The values at which the range is checked, by the name of the key that holds each."""
        return {"low": self.low, "high": self.high}

    def contains(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        return isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def size(self) -> float:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def __str__(self) -> str:
        suffix = " log" if self.log else f" step {self.step}" if self.step != 1 else ""
        return f"int [{self.low}, {self.high}]{suffix}"


class Choice(Section):
    """One of the listed values; a choice may be a mapping that holds distributions itself."""

    distribution: Literal["choice"]
    choices: Annotated[list[Any], Field(min_length=1, max_length=1000)] = Field(description="the values")

    @model_validator(mode="after")
    def _check(self) -> Choice:
        labels = self.labels
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise invalid(f"choices holds {repeated[0]} twice")
        return self

    @property
    def labels(self) -> list[Any]:
        """One value per choice by which it is called in studies and tables.

        A scalar is its own label; of a mapping or list, the parts in which it differs from the other choices.
        """
        if all(_is_scalar(choice) for choice in self.choices):
            return list(self.choices)
        leaves = [dict(_leaves(choice)) for choice in self.choices]
        plain = [{k: v for k, v in flat.items() if not isinstance(v, Section)} for flat in leaves]
        short = _labels(plain)
        return short if len(set(short)) == len(short) else _labels(leaves)

    def ends(self) -> dict[str, Any]:
        """The labels, each of which is checked, by the place that holds it."""
        return {f"choices.{index}": label for index, label in enumerate(self.labels)}

    def contains(self, value: Any) -> bool:
        """Whether `value` is the label of a choice."""
        return value in self.labels

    def size(self) -> float:
        """How many choices there are."""
        return len(self.choices)

    def __str__(self) -> str:
        return "choice of " + ", ".join(map(str, self.labels))


Distribution = Uniform | LogUniform | Int | Choice
DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "uniform": Uniform, "loguniform": LogUniform, "int": Int, "choice": Choice,
}  # fmt: skip


class SameAs(Section):
    """The value of another key, by its dotted path."""

    same_as: Annotated[str, Field(min_length=1)]

    def __str__(self) -> str:
        return f"same as {self.same_as}"


def _check_order(low: float, high: float) -> None:
    if low >= high:
        raise invalid(f"low is {low}, must be below high ({high})")


def _check_positive(low: float) -> None:
    if low <= 0:
        raise invalid(f"low is {low}, must be above 0 for a logarithm")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _on_grid(offset: float, step: float | None) -> bool:
    return step is None or math.isclose(offset / step, round(offset / step), rel_tol=1e-9, abs_tol=1e-9)


def _check_step(low: float, high: float, step: float) -> None:
    if not _on_grid(high - low, step):
        nearest = low + math.floor((high - low) / step) * step
        reason = f"step is {step}, must divide high - low ({high - low:g}); high: {nearest:g} would do"
        raise invalid(reason)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for k, v in value.items() for leaf in _leaves(v, f"{path}.{k}" if path else str(k))]
    return [(path, value)]


def _labels(choices: list[dict[str, Any]]) -> list[str]:
    """Each choice by the leaves that are not the same in all mappings among the choices."""
    mappings = [{(key, _text(value)) for key, value in flat.items()} for flat in choices if "" not in flat]
    shared = set.intersection(*mappings) if len(mappings) > 1 else set()
    return [", ".join(_text(v, k) for k, v in flat.items() if (k, _text(v)) not in shared) or "-" for flat in choices]


def _text(value: Any, key: str = "") -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return f"{key}={text}" if key else text
