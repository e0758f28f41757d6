"""A sweep read back from its folder: its template and its result, without Ray."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from codeq.config import ConfigError, Template
from codeq.config.errors import BadInput
from codeq.config.text import first_line, pluralize
from codeq.plugins import load_stored
from codeq.results.sweep_result import SweepResult, analyze
from codeq.results.trials import load_confirm_runs, load_trials
from codeq.storage.atomic_files import is_local


@dataclass(frozen=True)
class StoredSweep:
    """A sweep in `folder`."""

    folder: UPath
    template: Template
    found: SweepResult

    @property
    def name(self) -> str:
        """The sweep's name."""
        return str(self.template.sweep.name)

    @property
    def hours(self) -> float:
        """The hours that its trials took together, each in its own process."""
        return sum(trial.record.duration_s for trial in self.found.trials) / 3600


def load_sweep(folder: UPath) -> StoredSweep:
    """Read the sweep in `folder`; its stored plug-ins are run.

    Raises BadInput if it is no sweep's folder or a version that cannot be read, StateDamaged if a trial's files are
    damaged.
    """
    if not (folder / "template.yaml").exists():
        what = "is no sweep's folder, it holds no template.yaml" if folder.exists() else "there is no such folder"
        raise BadInput(f"{folder}: {what}")
    try:
        load_stored(folder)
        template = _load_template(folder / "template.yaml")
    except ConfigError as error:
        more = len(error.problems) - 1
        rest = f" (and {pluralize(more, 'more problem')})" if more else ""
        raise BadInput(f"{folder}: its template cannot be read by this version: {first_line(error)}{rest}") from None
    return StoredSweep(folder, template, analyze(load_trials(folder), load_confirm_runs(folder), template))


def _load_template(path: UPath) -> Template:
    if is_local(path):
        return Template.load(str(path))
    with tempfile.TemporaryDirectory(prefix="codeq-template-") as scratch:
        copy = Path(scratch) / path.name
        copy.write_bytes(path.read_bytes())
        return Template.load(copy)
