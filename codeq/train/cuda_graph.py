"""A training step's forward and backward pass as CUDA graphs: two launches instead of thousands.

A small network keeps a GPU waiting for the host, which launches some 4,000 kernels for a step of ResNet-20 with
quantizers. A graph is recorded once and replayed on the same memory: parameters and buffers must stay where they are.
"""

from __future__ import annotations

import gc
from typing import cast

import torch
from torch import Tensor

from codeq.train.training_loss import Loss, TrainingLoss


def can_capture(device: torch.device) -> bool:
    """Whether `device` has graphs to replay."""
    return device.type == "cuda"


def captured(loss: TrainingLoss, images: Tensor, labels: Tensor) -> Loss:
    """`loss` as it is replayed on batches of this size, backward pass included. `loss` itself turns into that.

    Loss, logits and gradients lie in the graphs' own memory until the next call: gradients must not be summed over
    several. Recording changes buffers and random numbers as training steps do. Raises RuntimeError where the pass does
    what a graph cannot hold, such as waiting for the device.
    """
    batch = images.clone(), labels.clone()  # later batches are copied into them
    gc.collect()  # an earlier graph that is freed while this one is recorded spoils it
    # Recorded on a stream of its own, the pass hands every gradient over to another, of which PyTorch would warn.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    with torch.cuda.device_of(images):
        # thread_local: the data loader's thread may pin memory meanwhile.
        replay = torch.cuda.make_graphed_callables(
            loss, batch, allow_unused_input=True, capture_error_mode="thread_local"
        )
    return cast(Loss, replay)
