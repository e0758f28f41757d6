"""What trials occupy, and how many fit."""

from __future__ import annotations

import pytest

from codeq.execution import capacity
from codeq.execution.capacity import slots_for_trials

NODES = [
    {"Alive": True, "Resources": {"CPU": 6.0, "GPU": 1.0}},
    {"Alive": True, "Resources": {"CPU": 6.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(("cpu", "gpu", "trials"), [(1.0, 0.0, 12), (4.0, 0.0, 2), (1.0, 0.5, 2), (8.0, 0.0, 0)])
def test_a_trial_lies_on_one_machine_that_lives(
    cpu: float, gpu: float, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.nodes", lambda: NODES)
    assert capacity.trials_that_fit(cpu, gpu) == trials


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpu", "gpu", "trials"),
    [
        (2, 0, 1.0, 0.0, 2),
        (2, 0, 0.1, 0.0, 20),
        (2.1, 0, 0.3, 0.0, 7),
        (2, 0, 1.5, 0.0, 1),
        (2, 0, 3.0, 0.0, 0),
        (2, 0, 1.0, 1.0, 0),
        (64, 8, 1.0, 1.0, 8),
        (64, 8, 16.0, 1.0, 4),
        (64, 8, 1.0, 3.0, 2),
        (64, 8, 1.0, 0.1, 64),
        (64, 4, 1.0, 0.6, 4),  # two of them do not share a GPU
        (64, 3, 1.0, 1 / 3, 9),
    ],
)
def test_slots_for_trials(cpus: float, gpus: float, cpu: float, gpu: float, trials: int) -> None:
    assert slots_for_trials(cpu, gpu, cpus, gpus) == trials
