"""The template: a YAML file that is at once a training config and a search space.

`Template.load` reads and checks a file completely; `Template.draw` makes one RunConfig of it, asking a callable for
the value of every distribution it meets. A choice is drawn before what it holds, so the space is define-by-run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from codeq.config.check import draw_scripted, run_problems, scripts, sweep_problems
from codeq.config.distributions import Distribution
from codeq.config.document import Document
from codeq.config.draw import Draw
from codeq.config.errors import ConfigError, Mark, Problem
from codeq.config.merge import read_merged
from codeq.config.run import RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.tree import distributions, dotted, lift, lower, parameter_names
from codeq.config.validation import invalid_values

DEFAULT_TRIALS = 24


@dataclass(frozen=True)
class Parameter:
    """One searched value: its dotted path, its distribution, and whether it exists only under some choice."""

    name: str
    distribution: Distribution
    conditional: bool


class Template:
    """A checked template: `source` file, `tree` with distributions in it, `sweep` with its defaults filled in."""

    def __init__(self, source: Path, tree: dict[str, Any], sweep: SweepConfig) -> None:
        self.source = source
        self.tree = tree
        trials = sweep.trials or (DEFAULT_TRIALS if distributions(tree) else 1)
        self.sweep = sweep.model_copy(update={"name": sweep.name or source.stem, "trials": trials})

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Template:
        """Read the template at `path`, with `KEY=VALUE` overrides on top.

        Raises ConfigError with every problem of the file, the files it extends and the overrides.
        """
        document = read_merged(Path(path), overrides)
        data = dict(document.data)
        problems: list[Problem] = []
        sweep = _sweep_section(data.pop("sweep", None) or {}, document, problems)
        tree = lift(document, data, (), problems)
        problems += run_problems(tree, document)
        if sweep and not problems:
            problems += sweep_problems(sweep, tree, document)
        if problems or not sweep:
            raise ConfigError(problems)
        return cls(Path(path), tree, sweep)

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
        draws = (draw_scripted(self.tree, script) for script in scripts(self.tree))
        return max(RunConfig.model_validate(draw.data).epochs for draw in draws)

    def draw(self, suggest: Callable[[str, Distribution], Any]) -> RunConfig:
        """One run config, every distribution replaced by what `suggest(name, distribution)` answers.

        A Choice is answered with one of its labels. Raises ConfigError if the values do not fit together.
        """
        draw = Draw(self.tree, lambda path, distribution: suggest(self._names[path], distribution))
        try:
            return RunConfig.model_validate(draw.data)
        except ValidationError as error:
            invalid = invalid_values(error, RunConfig, draw.data)
            mark = Mark(str(self.source))
            raise ConfigError(Problem(mark, dotted(draw.data, i.path), str(i)) for i in invalid) from None

    def run_config(self) -> RunConfig:
        """The one run config of a template without distributions.

        Raises ConfigError, naming every distribution, if there are any.
        """
        mark = Mark(str(self.source))
        reason = "is a distribution ({}); a single run needs one value: give it with --set, or run tune_main.py"
        if self.parameters:
            raise ConfigError(
                Problem(mark, p.name, reason.format(p.distribution)) for p in self.parameters
            )
        return self.draw(lambda name, distribution: None)

    def to_yaml(self) -> str:
        """The template as resolved: `extends` and overrides folded in. Loads again to an equal template."""
        data = {**lower(self.tree), "sweep": self.sweep.model_dump(by_alias=True)}
        return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)

    @cached_property
    def _names(self) -> dict[tuple[str | int, ...], str]:
        return parameter_names(self.tree)


def _sweep_section(data: Any, document: Document, problems: list[Problem]) -> SweepConfig | None:
    try:
        return SweepConfig.model_validate(data)
    except ValidationError as error:
        for invalid in invalid_values(error, SweepConfig, data):
            path = ("sweep", *invalid.path)
            problems.append(Problem(document.mark(path), dotted(document.data, path), str(invalid)))
        return None
