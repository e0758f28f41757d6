"""Searched values that no training reads: a search over them is a search over noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from codeq.config.distributions import Distribution, SameAs
from codeq.config.document import Document, KeyPath
from codeq.config.draw import SampledConfig
from codeq.config.errors import Problem
from codeq.config.run import RunConfig, Sgd
from codeq.config.tree import distributions, dotted, get_path, walk

_DZ, _BIT = "optimizer.param_groups.dz", "optimizer.param_groups.bit"
_READ_BY_LAYERS = ("quantizer.quantize_norms", "quantizer.exclude_layers", "loss_terms.group_lasso.kwargs.")
UnreadFn = Callable[[RunConfig], dict[str, str]]
"""config -> reasons by dotted key, as of `unread_keys`."""


def unread_keys(config: RunConfig) -> dict[str, str]:
    """The dotted keys whose values, with everything below them, do not matter for this config, and why not."""
    found = dict(_unread_of_quantizer(config))
    for term in config.loss_terms:
        if term.lambda_ == 0:
            found[f"loss_terms.{term.name}.kwargs"] = f"loss_terms.{term.name}.lambda is 0"
        if term.name == "group_lasso" and not any(term.kwargs.values()):
            found[f"loss_terms.{term.name}.lambda"] = "lambda_linear and lambda_conv are 0"
    if config.lr_scheduler != "warmup_cosine":
        found["warmup_epochs"] = f"lr_scheduler is {config.lr_scheduler}"
    for name in ("base", "dz", "bit"):
        group = getattr(config.optimizer.param_groups, name)
        if group is not None and group.lr == 0:
            others = type(group).model_fields.keys() - {"lr"}
            found.update({f"optimizer.param_groups.{name}.{key}": "its lr is 0" for key in others})
        elif group is not None and isinstance(config.optimizer, Sgd) and group.momentum == 0:
            found[f"optimizer.param_groups.{name}.dampening"] = "its momentum is 0"
    return found


def needs_network(tree: dict[str, Any], configs: Iterable[RunConfig]) -> bool:
    """Whether a value is searched of which only the network can tell whether it is read.

    configs: all that `tree` can draw, by their ends.
    """
    searched = [name for _, name, value in walk(tree) if isinstance(value, Distribution)]
    if any(name.startswith(_READ_BY_LAYERS) for name in searched):
        return True
    terms = [term for config in configs for term in config.loss_terms if term.name == "group_lasso"]
    return "loss_terms.group_lasso.lambda" in searched and any(0 in term.kwargs.values() for term in terms)


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


def unread_problems(
    draws: Iterable[SampledConfig], tree: dict[str, Any], document: Document, unread_in: UnreadFn = unread_keys
) -> Iterator[Problem]:
    """A problem for every distribution that is read in none of the draws, which must be valid."""
    searched = distributions(tree).keys()
    reasons: dict[KeyPath, str] = {}
    read: set[KeyPath] = set()
    for draw in draws:
        if searched <= read:
            return
        unread = unread_in(RunConfig.model_validate(draw.data))
        names = {path: dotted(draw.data, path) for path in draw.origin}
        referred = _referred(draw, names, unread, tree)
        for path, origin in draw.origin.items():
            reason = why_unread(names[path], unread)
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
    found = {key for name, key in targets.items() if why_unread(name, unread) is None}
    while more := {targets[key] for key in found if key in targets} - found:
        found |= more
    return found


def why_unread(name: str, unread: Mapping[str, str]) -> str | None:
    """The reason why the value at the dotted key `name` is not read, of those by key in `unread`; None if it is."""
    return next((reason for key, reason in unread.items() if _is_below(name, key)), None)


def _is_below(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")
