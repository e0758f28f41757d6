"""Which runs can train together: those whose tensors have one shape and whose steps are one computation."""

from __future__ import annotations

import json
from typing import Any

from codeq.config.run import RunConfig

# What each run of a stack has for itself, or what does not enter the computation.
_PER_RUN_KEYS = ("seed", "epochs", "lr_scheduler", "warmup_epochs", "wandb_project", "save_dir", "workers")
_NUMBERS_OF_A_QUANTIZER = ("fixed_bit_val", "max_bits", "init_bit_logit", "init_deadzone_logit")


def fusion_key(config: RunConfig) -> str:
    """A text that is equal for configs that can train together.

    They may differ in seed, epochs and schedule, in the learning rates, weight decays and other numbers of the
    optimizer's groups, in the loss terms' lambdas and their arguments of type float, and in the dead-zone quantizer's
    initial logits and bit-widths.
    """
    data = config.as_dict()
    for key in _PER_RUN_KEYS:
        del data[key]
    if config.quantizer is not None and config.quantizer.name == "deadzone":
        for key in _NUMBERS_OF_A_QUANTIZER:
            data["quantizer"]["kwargs"].pop(key, None)
    data["optimizer"]["param_groups"] = _without_numbers(data["optimizer"]["param_groups"])
    for term in data["loss_terms"]:
        # A number of another type may decide what is computed: an exponent, a count.
        term["kwargs"] = {key: 0 if isinstance(value, float) else value for key, value in term["kwargs"].items()}
        term["lambda"] = 0
    return json.dumps(data, sort_keys=True)


def _without_numbers(data: Any) -> Any:
    """`data` with every number that is not a flag replaced by 0."""
    match data:
        case dict():
            return {key: _without_numbers(value) for key, value in data.items()}
        case list():
            return [_without_numbers(value) for value in data]
        case float() | int() if not isinstance(data, bool):
            return 0
    return data
