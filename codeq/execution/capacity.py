"""How many trials fit on a machine or a cluster: what one trial occupies, and what there is."""

from __future__ import annotations

from codeq.config.errors import BadInput

_SLACK = 1e-6
"""Tolerance for rounding in the division of fractions."""


def gpus_of_trial(requested: float | str, device: str, available: float) -> float:
    """GPUs that one trial occupies; `auto` is one where there are any and the trials may use it.

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


def gpus_per_trial(requested: float | str, device: str) -> float:
    """`gpus_of_trial` on the cluster that this process has joined."""
    import ray

    return gpus_of_trial(requested, device, ray.cluster_resources().get("GPU", 0.0))


def describe_sharing(gpu: float) -> str:
    """What several trials on one GPU do there, where `gpu` GPUs per trial mean that; else an empty text."""
    if not 0.0 < gpu < 1.0:
        return ""
    sharing = slots_for_trials(gpu, gpu, 1.0, 1.0)
    how = "at the same time under NVIDIA's MPS (nvidia-cuda-mps-control -d), else in turns"
    return f"up to {sharing} trials share a GPU: {how}"


def check_resources(cpu: float, gpu: float) -> None:
    """Raise BadInput if the machine is too small for a trial: Ray would wait silently for a larger one."""
    import ray

    available = ray.cluster_resources()
    for kind, requested in (("CPU", cpu), ("GPU", gpu)):
        if requested > available.get(kind, 0.0):
            key = f"sweep.resources.{kind.lower()}"
            raise BadInput(f"{key} is {requested:g}, but this machine has {available.get(kind, 0.0):g}")


def trials_that_fit(cpu: float, gpu: float) -> int:
    """How many trials of these resources the machines of the cluster hold, regardless of what others run there."""
    import ray

    available = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(slots_for_trials(cpu, gpu, node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in available)


def free_slots(cpu: float, gpu: float) -> int:
    """How many trials of these resources fit into what is unoccupied now in the whole cluster."""
    import ray

    free = ray.available_resources()
    return slots_for_trials(cpu, gpu, free.get("CPU", 0.0), free.get("GPU", 0.0))
