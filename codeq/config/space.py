"""A sweep's template from a plain training config: the decisive values become distributions around theirs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeq.config.document import to_line, to_yaml
from codeq.config.paths import escape_paths
from codeq.config.run import RunConfig
from codeq.config.template import Template

STARTUP_TRIALS = 10
TRIALS_PER_PARAMETER = 6
SHORTEST_HALVING = 6
"""With fewer epochs no trial is stopped early: there is no epoch that predicts the last one."""
RUNGS_AT = 20
"""The first rung is at this fraction of the epochs, the others at three and nine times that."""

_ACCEPTABLE = {"digits": 85, "fashion_mnist": 70, "cifar10": 40, "cifar100": 15}
"""By data set: a validation accuracy in percent below which no network of the registry is of use."""


@dataclass(frozen=True)
class _Searched:
    """One value that becomes a distribution. value: the given one, tried first; None if the range excludes it."""

    path: tuple[str, ...]
    distribution: dict[str, Any]
    why: str
    value: float | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def space_text(path: Path) -> str:
    """Return the template for the plain config at `path`, as YAML with a comment above each range.

    Raises ConfigError if the file has problems or contains distributions.
    """
    config = Template.load(path, single_run=True).run_config()
    searched = list(_searched(config))
    data = _changed(config)
    for each in searched:
        _place(data, each)
    sweep = _sweep(config, searched, path.stem)
    head = [
        f"# A search around {path.name}, written by: python -m codeq.config space {shlex.quote(str(path))}",
        "# Each range has a comment that says why; `--dry-run` prints the plan, `--probe` forecasts the time.",
        "#",
        "#   python tune_main.py THIS_FILE --dry-run",
    ]
    body = _commented(to_yaml(escape_paths(data)), [each.why for each in searched])
    return "\n".join(head) + "\n" + body + _sweep_text(sweep)


def _searched(config: RunConfig) -> Iterator[_Searched]:
    """The values to search, in the order in which they stand in the config."""
    kwargs = config.quantizer.kwargs if config.quantizer and config.quantizer.name == "deadzone" else {}
    learned = {"dz": kwargs.get("learnable_deadzone", False), "bit": kwargs.get("learnable_bit", False)}
    meaning = {
        "dz": ("deadzone", "0 prunes everything at the start, 3 nearly nothing"),
        "bit": ("bit", "0 is 2 bits at the start, 3 is nearly max_bits"),
    }
    for group, is_learned in learned.items():
        if is_learned:
            key, why = meaning[group]
            logit = kwargs[f"init_{key}_logit"]
            ends = {"low": max(0.5, round(logit - 1.0, 3)), "high": round(max(1.5, logit + 1.0), 3)}
            given_logit = logit if logit >= ends["low"] else None
            path = ("quantizer", "kwargs", f"init_{key}_logit")
            yield _Searched(path, {"distribution": "uniform", **ends}, why, given_logit)
    groups = config.optimizer.param_groups
    yield _around("base", "lr", groups.base.lr, 5, "too low learns too little in these epochs, too high diverges")
    if groups.base.weight_decay:
        yield _around("base", "weight_decay", groups.base.weight_decay, 10, "shrinks every weight, so it prunes too")
    decays = {
        "dz": (0.01, 10.0, "sets the sparsity: too weak prunes nothing, too strong collapses the network"),
        "bit": (0.001, 1.0, "sets the bit-width: too weak keeps max_bits, too strong leaves 2 bits"),
    }
    for group, is_learned in learned.items():
        if is_learned:
            given = getattr(groups, group)
            lr, decay = (given.lr, given.weight_decay) if given else (groups.base.lr, 0.0)
            yield _around(group, "lr", lr, 10, "how fast the logit moves; it interacts with the weight decay")
            low, high, why = decays[group]
            if decay:
                yield _around(group, "weight_decay", decay, 10, why)
            else:
                decay_path = ("optimizer", "param_groups", group, "weight_decay")
                yield _Searched(decay_path, {"distribution": "loguniform", "low": low, "high": high}, why, None)
    for term in config.loss_terms:
        if term.lambda_ > 0:
            why = "wide, and mostly below: a lambda that is too strong collapses the network"
            ends = {"low": _short(term.lambda_ / 100), "high": _short(term.lambda_ * 3)}
            path = ("loss_terms", term.name, "lambda")
            yield _Searched(path, {"distribution": "loguniform", **ends}, why, term.lambda_)


def _around(group: str, key: str, value: float, factor: float, why: str) -> _Searched:
    ends = {"low": _short(value / factor), "high": _short(value * factor)}
    path = ("optimizer", "param_groups", group, key)
    return _Searched(path, {"distribution": "loguniform", **ends}, why, value)


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _changed(config: RunConfig) -> dict[str, Any]:
    """The config as plain data: what differs from the defaults, and what every reader looks for."""
    data, defaults = config.as_dict(), RunConfig.model_validate(_required(config)).as_dict()
    shown = ("model", "dataset", "epochs", "batch_size", "quantizer", "optimizer", "loss_terms")
    return {key: value for key, value in data.items() if key in shown or value != defaults[key]}


def _required(config: RunConfig) -> dict[str, Any]:
    data = config.as_dict()
    return {name: data[name] for name, field in RunConfig.model_fields.items() if field.is_required()}


def _place(data: dict[str, Any], searched: _Searched) -> None:
    """Put a distribution where its value stands; a missing parameter group is made."""
    *above, last = searched.path
    section: Any = data
    for step in above:
        if isinstance(section, list):
            section = next(item for item in section if item["name"] == step)
        else:
            if section[step] is None:
                section[step] = {}
            section = section[step]
    section[last] = searched.distribution


def _sweep(config: RunConfig, searched: list[_Searched], stem: str) -> dict[str, Any]:
    learns_bits = any(each.path[-1] == "init_bit_logit" for each in searched)
    learns_zones = any(each.path[-1] == "init_deadzone_logit" for each in searched)
    second = {"rel_bops": "min"} if learns_bits else {"sparsity": "max"} if learns_zones else {}
    halving = {"name": "asha", "grace_epochs": max(2, config.epochs // RUNGS_AT), "reduction_factor": 3}
    first = {each.name: each.value for each in searched if each.value is not None}
    return {
        "name": f"{re.sub(r'[^A-Za-z0-9._-]', '_', stem)[:48]}_sweep",
        "trials": STARTUP_TRIALS + TRIALS_PER_PARAMETER * len(searched),
        "objectives": {"val_acc": "max", **second},
        "constraints": {"val_acc": f">= {_ACCEPTABLE.get(config.dataset.name, 50)}"},
        "search": {"sampler": "tpe", "startup_trials": STARTUP_TRIALS},
        "scheduler": halving if config.epochs >= SHORTEST_HALVING else {"name": "none"},
        "enqueue": [first],
    }


_SWEEP_COMMENTS = {
    "trials": f"{STARTUP_TRIALS} random ones, then {TRIALS_PER_PARAMETER} for each searched value",
    "constraints": "what the winner must reach; raise it to what you can accept",
    "scheduler": "the first comparison after a twentieth of the epochs; one trial in three continues",
    "enqueue": "the values of the given file, tried first",
}


def _sweep_text(sweep: dict[str, Any]) -> str:
    lines = ["sweep:"]
    for key, value in sweep.items():
        if key in _SWEEP_COMMENTS:
            lines.append(f"  # {_SWEEP_COMMENTS[key]}")
        lines.append(f"  {key}: {to_line(value)}")
    return "\n".join(lines) + "\n"


def _commented(text: str, comments: list[str]) -> str:
    """`text` with a comment above each distribution, in their order."""
    remaining = iter(comments)
    lines = []
    for line in text.splitlines():
        if ": {distribution: " in line:
            lines.append(f"{' ' * (len(line) - len(line.lstrip(' -')))}# {next(remaining)}")
        lines.append(line)
    return "\n".join(lines) + "\n"
