"""The published example configs, changed so that they train until a measurement ends."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.options import ROOT
from codeq.config import RunConfig, Template

EXAMPLES = {"mlp": "sweeps/deadzone_mlp.yaml", "resnet20": "sweeps/deadzone_resnet20.yaml"}
# The published settings prune until the network collapses, which would end our run; the arithmetic is the same.
MILD = ("optimizer.param_groups.dz.weight_decay=0.01", "loss_terms.group_lasso.lambda=1e-5", "lr_scheduler=constant")


def synthetic_config(model: str, overrides: Sequence[str]) -> RunConfig:
    """Return the example config of `model` on synthetic images, flipped and cropped, for a thousand epochs."""
    images = ("dataset=synthetic", "augment=standard", "epochs=1000")
    return Template.load(ROOT / EXAMPLES[model], [*images, *MILD, *overrides], single_run=True).run_config()
