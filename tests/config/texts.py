"""A small plain config, ways to change it, and what the room says to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeq.config import ConfigError, Template

PLAIN = """\
model: resnet20
epochs: 10
quantizer:
  name: deadzone
  kwargs: {max_bits: 8}
  exclude_layers: [bn]
optimizer:
  type: adamw
  param_groups:
    base: {lr: 0.001}
    dz: {lr: 0.001, weight_decay: 2.5}
loss_terms:
  - name: group_lasso
    lambda: 1.0
"""

QUANTIZER = PLAIN[PLAIN.index("quantizer:") : PLAIN.index("optimizer:")]
WEIGHT_DECAY = "optimizer.param_groups.dz.weight_decay"
LASSO = "loss_terms.group_lasso.lambda"


def edited(*changes: tuple[str, str], text: str = PLAIN) -> str:
    """`text` with each (old, new) replaced once; an `old` that is not there is an error of the test."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def with_quantizer(quantizer: str) -> str:
    """The plain config with another quantizer, given as one line of YAML."""
    return edited((QUANTIZER, f"quantizer: {quantizer}\n"))


def load(
    text: str, *overrides: str, name: str = "t.yaml", options: Mapping[str, Any] | None = None
) -> Template:
    """The template of a file that holds `text`."""
    Path(name).write_text(text, encoding="utf-8")
    return Template.load(name, overrides, options)


def problems(
    text: str, *overrides: str, name: str = "t.yaml", options: Mapping[str, Any] | None = None
) -> list[str]:
    """One line per problem of a file that holds `text`; empty if it is good."""
    try:
        load(text, *overrides, name=name, options=options)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def searched(template: Template) -> dict[str, str]:
    """Parameter names and distributions as text."""
    return {parameter.name: str(parameter.distribution) for parameter in template.parameters}
