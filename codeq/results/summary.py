"""summary.json: how the trials ended, the front, its hypervolume, the winner and how it was selected."""

from __future__ import annotations

import json
from collections import Counter

from upath import UPath

from codeq.config import Template
from codeq.results.sweep_result import SweepResult
from codeq.storage.atomic_files import write_atomically


def write_summary(path: UPath, found: SweepResult, template: Template) -> None:
    """Write summary.json."""
    sweep, winner = template.sweep, found.winner
    summary = {
        "name": sweep.name,
        "trials": dict(Counter(trial.as_row()["status"] for trial in found.trials)),
        "objectives": sweep.objectives,
        "constraints": sweep.constraints,
        "selected_on": found.selected_on,
        "front": [trial.record.trial for trial in found.front],
        "hypervolume": found.hypervolume,
        "hypervolume_reference": found.hypervolume_bounds.reference,
        "hypervolume_ideal": found.hypervolume_bounds.ideal,
        "winner": None if winner is None else winner.record.trial,
        "winner_is": found.choice,
    }
    write_atomically(path, json.dumps(summary, indent=1) + "\n")
