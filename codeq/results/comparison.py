"""Several sweeps beside each other: their fronts, what each cost, and which trials make the common front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from codeq.config.errors import BadInput
from codeq.config.objectives import Objectives, maximized_values
from codeq.results.hypervolume import hypervolume, hypervolume_bounds
from codeq.results.stored_sweep import StoredSweep
from codeq.results.trials import TrialResult


@dataclass(frozen=True)
class ComparedSweep:
    """One of the sweeps. hypervolume: between bounds that all share, 0..1. on_common_front: its trials there."""

    sweep: StoredSweep
    label: str
    hypervolume: float
    on_common_front: Sequence[TrialResult]


@dataclass(frozen=True)
class Comparison:
    """The sweeps in the order given, in the objectives that all have. warnings: what makes them hard to compare."""

    sweeps: Sequence[ComparedSweep]
    objectives: Objectives
    warnings: Sequence[str]


def compare(sweeps: Sequence[StoredSweep]) -> Comparison:
    """Compare sweeps in the objectives that they share. Raises BadInput if they share none."""
    objectives = _shared_objectives(sweeps)
    labels = _labels(sweeps)
    candidates = [
        (index, trial) for index, sweep in enumerate(sweeps) for trial in sweep.found.front if trial.finished
    ]
    bounds = hypervolume_bounds([trial.row for _, trial in candidates], objectives)
    best = _nondominated([trial for _, trial in candidates], objectives)
    common = [candidate for candidate, is_best in zip(candidates, best, strict=True) if is_best]
    compared = [
        ComparedSweep(
            sweep=sweep,
            label=labels[index],
            hypervolume=hypervolume([trial.row for number, trial in candidates if number == index], bounds),
            on_common_front=[trial for number, trial in common if number == index],
        )
        for index, sweep in enumerate(sweeps)
    ]
    return Comparison(compared, objectives, list(_warnings(sweeps, labels)))


def _shared_objectives(sweeps: Sequence[StoredSweep]) -> Objectives:
    first = sweeps[0].template.sweep.objectives
    shared = {
        name: direction
        for name, direction in first.items()
        if all(sweep.template.sweep.objectives.get(name) == direction for sweep in sweeps)
    }
    if not shared:
        told = "; ".join(f"{sweep.folder}: {', '.join(sweep.template.sweep.objectives)}" for sweep in sweeps)
        raise BadInput(f"the sweeps share no objective: {told}")
    return shared


def _nondominated(trials: Sequence[TrialResult], objectives: Objectives) -> list[bool]:
    if not trials:
        return []
    points = np.array([maximized_values(trial.row, objectives) for trial in trials])
    return [bool(best) for best in moocore.is_nondominated(points, maximise=True, keep_weakly=True)]


def _labels(sweeps: Sequence[StoredSweep]) -> list[str]:
    """The sweeps' names, or their folders if two have one name."""
    names = [sweep.name for sweep in sweeps]
    return names if len(set(names)) == len(names) else [str(sweep.folder) for sweep in sweeps]


def _warnings(sweeps: Sequence[StoredSweep], labels: Sequence[str]) -> list[str]:
    """Say which sweeps measured their accuracies on other images than the first one."""
    keys = ("dataset", "val_fraction")
    first = sweeps[0].template.boundary_configs[0].as_dict()
    told = []
    for sweep, label in zip(sweeps[1:], labels[1:], strict=True):
        other = sweep.template.boundary_configs[0].as_dict()
        changed = [f"{key} {other[key]} instead of {first[key]}" for key in keys if other[key] != first[key]]
        if changed:
            told.append(f"{label} has {' and '.join(changed)}: its accuracies are not comparable with {labels[0]}'s.")
    return told
