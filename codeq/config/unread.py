"""Searched values that no training reads: a search over them is a search over noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from codeq.config.distributions import SameAs
from codeq.config.document import Document, KeyPath
from codeq.config.draw import SampledConfig
from codeq.config.errors import Problem
from codeq.config.run import RunConfig, Sgd
from codeq.config.tree import distributions, dotted, get_path

_DZ, _BIT = "optimizer.param_groups.dz", "optimizer.param_groups.bit"


def unread_keys(config: RunConfig) -> dict[str, str]:
    """The dotted keys whose values, with everything below them, do not matter for this config, and why not."""
    found = dict(_unread_of_quantizer(config))
    for term in config.loss_terms:
        if term.lambda_ == 0:
            found[f"loss_terms.{term.name}.kwargs"] = f"loss_terms.{term.name}.lambda is 0"
    if config.lr_scheduler != "warmup_cosine":
        found["warmup_epochs"] = f"lr_scheduler is {config.lr_scheduler}"
    if isinstance(config.optimizer, Sgd):
        for name in ("base", "dz", "bit"):
            group = getattr(config.optimizer.param_groups, name)
            if group is not None and group.momentum == 0:
                found[f"optimizer.param_groups.{name}.dampening"] = "its momentum is 0"
    return found


def _unread_of_quantizer(config: RunConfig) -> Iterator[tuple[str, str]]:
    quantizer = config.quantizer
    if quantizer is None or quantizer.name == "uniform":
        reason = "quantizer is null" if quantizer is None else "the quantizer uniform has no logits"
        yield from ((group, reason) for group in (_DZ, _BIT))
    elif quantizer.name == "deadzone":  # a plug-in's may read anything
        if not quantizer.kwargs["learnable_deadzone"]:
            yield _DZ, "quantizer.kwargs.learnable_deadzone is false"
        learns_bits = quantizer.kwargs["learnable_bit"]
        reason = f"quantizer.kwargs.learnable_bit is {str(learns_bits).lower()}"
        unused = ("fixed_bit_val",) if learns_bits else ("max_bits", "init_bit_logit")
        yield from ((f"quantizer.kwargs.{name}", reason) for name in unused)
        if not learns_bits:
            yield _BIT, reason


def unread_problems(draws: Iterable[SampledConfig], tree: dict[str, Any], document: Document) -> Iterator[Problem]:
    """A problem for every distribution that is read in none of the draws, which must be valid."""
    searched = distributions(tree).keys()
    reasons: dict[KeyPath, str] = {}
    read: set[KeyPath] = set()
    for draw in draws:
        if searched <= read:
            return
        unread = unread_keys(RunConfig.model_validate(draw.data))
        names = {path: dotted(draw.data, path) for path in draw.origin}
        referred = _referred(draw, names, unread, tree)
        for path, origin in draw.origin.items():
            reason = _reason(names[path], unread)
            if reason is None or any(_is_below(names[path], key) or _is_below(key, names[path]) for key in referred):
                read |= {origin[:length] for length in range(len(origin) + 1)}
            else:
                reasons.setdefault(origin, reason)
    for path in searched - read:
        reason = next(reason for origin, reason in reasons.items() if origin[: len(path)] == path)
        text = f"is searched, but nothing reads it: {reason}; write one value"
        yield Problem(document.location(path), dotted(document.data, path), text)


def _referred(
    draw: SampledConfig, names: dict[KeyPath, str], unread: dict[str, str], tree: dict[str, Any]
) -> set[str]:
    """The keys that a value which is read refers to, directly or through other references."""
    references = [(names[path], get_path(tree, origin)) for path, origin in draw.origin.items()]
    targets = {name: value.same_as for name, value in references if isinstance(value, SameAs)}
    found = {key for name, key in targets.items() if _reason(name, unread) is None}
    while more := {targets[key] for key in found if key in targets} - found:
        found |= more
    return found


def _reason(name: str, unread: dict[str, str]) -> str | None:
    return next((reason for key, reason in unread.items() if _is_below(name, key)), None)


def _is_below(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")
