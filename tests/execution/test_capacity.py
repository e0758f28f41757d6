"""What trials occupy, and how many fit."""

from __future__ import annotations

import joblib
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


@pytest.mark.parametrize(("gpu", "trials"), [(0.125, 8), (0.3, 3), (0.5, 2)])
def test_a_share_of_a_gpu_is_told_with_what_it_takes_to_train_at_once(gpu: float, trials: int) -> None:
    assert capacity.describe_sharing(gpu).startswith(f"up to {trials} trials share a GPU: at the same time under")
    assert "nvidia-cuda-mps-control -d" in capacity.describe_sharing(gpu)


@pytest.mark.parametrize("gpu", [0.0, 1.0, 2.0])
def test_whole_gpus_are_not_worth_a_word(gpu: float) -> None:
    assert capacity.describe_sharing(gpu) == ""


@pytest.mark.parametrize(("cores", "of_job", "usable"), [(8, None, 8), (64, "8", 8), (4, "8", 4), (4, "", 4)])
def test_a_slurm_job_uses_the_cores_that_it_was_given(
    cores: int, of_job: str | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if of_job is not None:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", of_job)
    assert capacity.usable_cpus() == usable
