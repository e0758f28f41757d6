"""The types of config keys and of the `kwargs` of parts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from codeq.config.errors import format_value


def invalid(reason: str, loc: str = "") -> PydanticCustomError:
    """The error of one value. reason: shown unchanged. loc: the key inside the value that is wrong."""
    return PydanticCustomError("invalid", "{reason}", {"reason": reason, "loc": loc})


def _plain_text(text: str) -> str:
    if not text.isprintable():
        raise invalid(f"is {format_value(text)}, must not hold line breaks or control characters")
    return text


MAX_TEXT = 4096
"""The longest text, which is the longest path of Linux."""
MAX_INT = 2**31 - 1
"""The largest integer that every library below takes, seeds and thread counts included."""

PositiveInt = Annotated[int, Field(ge=1, le=MAX_INT)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_INT)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
Bits = Annotated[int, Field(ge=2, le=16)]
NonEmptyString = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_plain_text)]


class StrictModel(BaseModel):
    """A mapping of the YAML file: unknown keys and silently converted types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)
