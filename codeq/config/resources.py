"""How many trials fit on a machine or a cluster, and whether they train together."""

from __future__ import annotations

from codeq.config.template import Template

CPU_TRIALS = 400
"""The number of trials from which packs are faster on a CPU: they take longer to start."""


def gpus_of_trial(requested: float | str, device: str, available: float) -> float:
    """GPUs that one trial occupies; `auto` is one where there are any and the trials may use it.

    requested: sweep.resources.gpu. device: of the run config. available: GPUs of the machine or cluster.
    """
    if device in ("cpu", "mps"):
        return 0.0
    if requested == "auto":
        return 1.0 if available >= 1.0 else 0.0
    return float(requested)


def room_for_trials(cpu: float, gpu: float, cpus: float, gpus: float) -> int:
    """How many trials of `cpu` cores and `gpu` GPUs each fit on `cpus` cores and `gpus` GPUs."""
    rooms = [cpus / cpu]
    if gpu:
        rooms.append(gpus / gpu if gpu >= 1.0 else gpus * int(_SLACK + 1.0 / gpu))  # no trial spans two GPUs
    return int(_SLACK + min(rooms))


_SLACK = 1e-6
"""Tolerance for rounding in the division of fractions."""


def trains_together(template: Template, gpus: float, trials: int) -> bool:
    """Whether `trials` trials, which take `gpus` each, train together in packs.

    With `fuse: auto` on GPUs, and on CPUs in long sweeps. Not with compiled models, which would evict each other from
    the process's compilation cache.
    """
    if any(config.use_compile for config in template.boundary_configs):
        return False
    fuse = template.sweep.resources.fuse
    return fuse > 1 if fuse != "auto" else gpus > 0 or trials >= CPU_TRIALS
