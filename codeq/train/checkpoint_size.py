"""The size of a run's checkpoint, computed before it is trained."""

from __future__ import annotations

from codeq.config.run import RunConfig, SgdGroup
from codeq.data import DatasetInfo
from codeq.train.network import build_network, without_numbers

BYTES_PER_TENSOR = 256
"""Name, header and alignment of a tensor in a checkpoint's archive, measured on the MLP and ResNet-20."""
FIXED_BYTES = 16_000
"""The config, the schedule and the generators' states."""


def checkpoint_bytes(config: RunConfig, info: DatasetInfo) -> int:
    """Return the approximate size of the config's checkpoint in bytes: weights, buffers and the optimizer's state.

    Raises the exceptions of `build_network`.
    """
    model, _ = without_numbers(lambda: build_network(config, info, pretrained=False))
    weights = [parameter.numel() * parameter.element_size() for parameter in model.parameters()]
    buffers = [buffer.numel() * buffer.element_size() for buffer in model.buffers()]
    copies = 1 + _moments(config)
    tensors = copies * len(weights) + len(buffers)
    return copies * sum(weights) + sum(buffers) + tensors * BYTES_PER_TENSOR + FIXED_BYTES


def _moments(config: RunConfig) -> int:
    """How many tensors the optimizer keeps for each weight."""
    group = config.optimizer.param_groups.base
    if isinstance(group, SgdGroup):
        return 1 if group.momentum else 0
    return 3 if group.amsgrad else 2
