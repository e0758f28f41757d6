"""How many trials fit on a machine or a cluster, from the resources of a trial and those available."""

from __future__ import annotations

import os
import sys

from codeq.config.errors import BadInput

_SLACK = 1e-6
"""Tolerance for rounding in the division of fractions."""


def gpus_of_trial(requested: float | str, device: str, available: float) -> float:
    """Return the GPUs that one trial occupies; `auto` is one if a GPU is available and the device may be a GPU.

    requested: sweep.resources.gpu. device: of the run config. available: GPUs of the machine or cluster.
    """
    if device in ("cpu", "mps"):
        return 0.0
    if requested == "auto":
        return 1.0 if available >= 1.0 else 0.0
    return float(requested)


def slots_for_trials(cpu: float, gpu: float, cpus: float, gpus: float) -> int:
    """How many trials of `cpu` cores and `gpu` GPUs each fit on `cpus` cores and `gpus` GPUs."""
    slots = [cpus / cpu]
    if gpu:
        slots.append(gpus / gpu if gpu >= 1.0 else gpus * int(_SLACK + 1.0 / gpu))  # no trial spans two GPUs
    return int(_SLACK + min(slots))


def usable_cpus() -> int:
    """Return the number of CPU cores that this process may use: those of its machine, container or Slurm job."""
    import joblib  # imports NumPy

    in_slurm = os.environ.get("SLURM_CPUS_ON_NODE", "")
    of_job = int(in_slurm) if in_slurm.isdecimal() else 0
    return min(int(joblib.cpu_count()), of_job or sys.maxsize)


def gpus_per_trial(requested: float | str, device: str) -> float:
    """`gpus_of_trial` on the cluster that this process has joined."""
    import ray

    return gpus_of_trial(requested, device, ray.cluster_resources().get("GPU", 0.0))


def describe_sharing(gpu: float) -> str:
    """Return a line that says how trials share a GPU if `gpu` is a fraction; else an empty text."""
    if not 0.0 < gpu < 1.0:
        return ""
    sharing = int(_SLACK + 1.0 / gpu)
    how = "at the same time under NVIDIA's MPS (nvidia-cuda-mps-control -d), else in turns"
    return f"up to {sharing} trials share a GPU: {how}"


def check_resources(cpu: float, gpu: float) -> None:
    """Raise BadInput if the machine is too small for a trial: Ray would wait without a message."""
    import ray

    available = ray.cluster_resources()
    for kind, requested in (("CPU", cpu), ("GPU", gpu)):
        if requested > available.get(kind, 0.0):
            key = f"sweep.resources.{kind.lower()}"
            raise BadInput(f"{key} is {requested:g}, but this machine has {available.get(kind, 0.0):g}")


def trials_that_fit(cpu: float, gpu: float) -> int:
    """How many trials with these resources fit on the machines of the cluster, ignoring what runs there now."""
    import ray

    available = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(slots_for_trials(cpu, gpu, node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in available)


def free_slots(cpu: float, gpu: float) -> int:
    """How many trials with these resources fit into the resources of the cluster that are free now."""
    import ray

    free = ray.available_resources()
    return slots_for_trials(cpu, gpu, free.get("CPU", 0.0), free.get("GPU", 0.0))
