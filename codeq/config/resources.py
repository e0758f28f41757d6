"""What a sweep's trials occupy of a machine or a cluster, given what is there."""

from __future__ import annotations

from codeq.config.template import Template


def gpus_of_trial(wanted: float | str, device: str, there: float) -> float:
    """GPUs that one trial occupies; `auto` is one where there are any and the trials may use it.

    wanted: sweep.resources.gpu. device: of the run config. there: GPUs of the machine or cluster.
    """
    if device in ("cpu", "mps"):
        return 0.0
    if wanted == "auto":
        return 1.0 if there >= 1.0 else 0.0
    return float(wanted)


def trains_together(template: Template, gpus: float) -> bool:
    """Whether trials, which take `gpus` each, train together in packs.

    On a CPU fusing saves less than what Tune's process for every trial costs beside the packs (README). And compiled
    models of one process push each other out.
    """
    fuse = template.sweep.resources.fuse
    alone = fuse == 1 or (fuse == "auto" and not gpus)
    return not alone and not any(config.use_compile for config in template.examples)
