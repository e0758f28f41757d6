"""The template: a YAML file that is at once a training config and a search space.

`Template.load` reads and checks a file completely; `Template.draw` makes one RunConfig of it, asking a callable for
the value of every distribution it meets. A choice is drawn before what it holds, so the space is define-by-run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codeq.config.boundary_check import boundary_configs, checked_draws, draw_problems, run_problems, sweep_problems
from codeq.config.distributions import Distribution
from codeq.config.document import Document, to_yaml
from codeq.config.draw import SampledConfig
from codeq.config.errors import ConfigError, Problem
from codeq.config.merge import read_merged
from codeq.config.passwords import mask_password
from codeq.config.paths import escape_paths
from codeq.config.run import RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.tree import (
    InvalidValue,
    count_configs,
    distributions,
    find_path,
    parameter_names,
    parse_tree,
    problem_at,
    to_plain,
    walk,
)
from codeq.config.unread import UnreadFn, unread_problems
from codeq.config.validation import field_errors

DEFAULT_TRIALS = 24


@dataclass(frozen=True)
class Parameter:
    """One searched value: its dotted path, its distribution, and whether it exists only under some choice."""

    name: str
    distribution: Distribution
    conditional: bool


class Template:
    """A checked template: `source` file, `tree` with distributions in it, `sweep` with its defaults filled in.

    config_count: how many configs can be drawn; infinite where a distribution has no step. requested_trials: the
    `sweep.trials` of the file, of which `sweep` keeps at most `config_count`; None if the file has none.
    """

    def __init__(self, source: Path, tree: dict[str, Any], sweep: SweepConfig, document: Document) -> None:
        self.source = source
        self.tree = tree
        self.config_count = count_configs(tree)
        self.requested_trials = sweep.trials
        trials = int(min(sweep.trials or DEFAULT_TRIALS, self.config_count))  # no config is tried twice
        names = set(parameter_names(tree).values())
        first = [{name: value for name, value in values.items() if name in names} for values in sweep.enqueue]
        defaults = {"name": sweep.name or _name_of(source), "trials": trials, "enqueue": [v for v in first if v]}
        self.sweep = sweep.model_copy(update=defaults)
        self._enqueue_keys = [f"sweep.enqueue.{index}" for index, values in enumerate(first) if values]
        self._document = document

    @classmethod
    def load(
        cls,
        path: str | Path,
        overrides: Iterable[str] = (),
        options: Mapping[str, Any] | None = None,
        *,
        single_run: bool = False,
    ) -> Template:
        """Read the template at `path`, with `KEY=VALUE` overrides and the `options` of the command line on top.

        options: see `codeq.config.merge.read_merged`.
        single_run: the file is to be trained, not swept, so its sweep section is not checked against the parameters.

        Raises ConfigError with every problem of the file, the files it extends and the overrides.
        """
        document = read_merged(Path(path), overrides, options)
        data = dict(document.data)
        problems = document.problems
        sweep = _sweep_section(data.pop("sweep", None), document, problems)
        unreadable: list[Problem] = []
        tree = {key: parse_tree(document, value, (key,), unreadable) for key, value in data.items()}
        problems += unreadable + run_problems(tree, document)
        is_read = not any(isinstance(value, InvalidValue) for _, _, value in walk(tree))
        if sweep and is_read and not single_run:
            found = list(sweep_problems(sweep, tree, document))
            keys = {problem.key for problem in found}
            problems = [problem for problem in problems if problem.key not in keys] + found
            if not problems:
                problems += unread_problems(checked_draws(tree), tree, document)
        if problems or not sweep:
            raise ConfigError(problems)
        return cls(Path(path), tree, sweep, document)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is searched, in the order of the file, each name once."""
        found: dict[str, Parameter] = {}
        for path, distribution in distributions(self.tree).items():
            name = self._names[path]
            found.setdefault(name, Parameter(name, distribution, "choices" in path))
        return tuple(found.values())

    @cached_property
    def max_epochs(self) -> int:
        """The most epochs that any drawn config trains."""
        return max(config.epochs for config in self.boundary_configs)

    @cached_property
    def boundary_configs(self) -> tuple[RunConfig, ...]:
        """Configs that together hold both ends of every range and every choice."""
        return tuple(RunConfig.model_validate(draw.data) for draw in boundary_configs(self.tree))

    def draw(self, suggest: Callable[[str, Distribution], Any]) -> RunConfig:
        """One run config, every distribution replaced by what `suggest(name, distribution)` answers.

        A Choice is answered with one of its labels. Raises ConfigError if the values do not fit together.
        """
        draw = SampledConfig(self.tree, lambda path, distribution: suggest(self._names[path], distribution))
        try:
            return RunConfig.model_validate(draw.data)
        except ValidationError:
            raise ConfigError(draw_problems(draw, self.tree, self._document)) from None

    def run_config(self) -> RunConfig:
        """The one run config of a template without distributions.

        Raises ConfigError, naming every distribution that needs a value, if there are any.
        """
        searched = {path: d for path, d in distributions(self.tree).items() if "choices" not in path}
        if searched:
            reason = "is a distribution ({}); a single run needs one value: give it with --set, or run tune_main.py"
            raise ConfigError(
                Problem(self._document.location(path), self._names[path], reason.format(distribution))
                for path, distribution in searched.items()
            )
        return self.draw(lambda name, distribution: None)

    def problem(self, key: str, reason: str) -> Problem:
        """A problem of the value at a dotted key that was found after the file had been checked."""
        return Problem(self._document.location(find_path(self._document.data, key)), key, reason)

    def enqueue_problem(self, values: Mapping[str, Any], reason: str) -> Problem:
        """A problem of an entry of `self.sweep.enqueue`, of the last where several are equal."""
        keys = [key for key, entry in zip(self._enqueue_keys, self.sweep.enqueue, strict=True) if entry == values]
        return self.problem(keys[-1] if keys else "sweep.enqueue", reason)

    def unread_problems(self, unread_in: UnreadFn) -> list[Problem]:
        """A problem for every searched value that no config reads that can be drawn, according to `unread_in`."""
        return list(unread_problems(checked_draws(self.tree), self.tree, self._document, unread_in))

    @property
    def missing_configs(self) -> str:
        """That there are fewer configs than trials were asked for; empty if there are enough."""
        if self.requested_trials is None or self.requested_trials <= self.config_count:
            return ""
        only = f"only {self.config_count:,.0f} configs can be drawn"
        return f"{self.requested_trials:,} trials were asked for, but {only}"

    def to_yaml(self) -> str:
        """The template as resolved: `extends` and overrides folded in, paths expanded. Loads to an equal template.

        Only the password in a study's URL is left out.
        """
        sweep = self.sweep.model_dump(by_alias=True)
        if self.sweep.study:
            sweep["study"] = mask_password(self.sweep.study)
        return to_yaml(escape_paths({**to_plain(self.tree), "sweep": sweep}))

    @cached_property
    def _names(self) -> dict[tuple[str | int, ...], str]:
        return parameter_names(self.tree)


def _name_of(source: Path) -> str:
    """The default name of a sweep: the file's, without characters that are not allowed."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).lstrip("._-")
    return name[:64] or "sweep"


def _sweep_section(data: Any, document: Document, problems: list[Problem]) -> SweepConfig | None:
    data = {} if data is None else data
    try:
        return SweepConfig.model_validate(data)
    except ValidationError as error:
        found = field_errors(error, SweepConfig, data)
        problems.extend(problem_at(invalid, ("sweep", *invalid.path), document) for invalid in found)
        return None
