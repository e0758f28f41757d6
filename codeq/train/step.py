"""One training step: forward pass, backward pass, optimizer; run eagerly or replayed as one CUDA graph.

With a small network the GPU waits for the host, which launches about 1,000 kernels for a step of ResNet-20 with
quantizers. A CUDA graph is recorded once and replayed with one launch, on the same memory.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from codeq.config.text import first_line
from codeq.train.device import is_device_lost
from codeq.train.training_loss import Loss

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3
"""Eager steps before the recording, in which libraries choose kernels and the optimizer allocates its state."""


class TrainStep:
    """Trains on one batch per call, and sums the loss and the correct predictions of an epoch on the device.

    loss: may be replaced before the first call.
    """

    def __init__(self, loss: Loss, optimizer: Optimizer, device: torch.device) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self._loss_sum = torch.zeros((), device=device)
        self._correct = torch.zeros((), device=device)

    def begin_epoch(self) -> None:
        """Set the sums to zero."""
        self._loss_sum.zero_()
        self._correct.zero_()

    def sums(self) -> tuple[float, float]:
        """Return the sum of the images' losses and the number of correct predictions since `begin_epoch`."""
        return self._loss_sum.item(), self._correct.item()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """images: (B, C, S, S). labels: (B,). Does not make the host wait for the device."""
        loss, logits = self.loss(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self._loss_sum += loss.detach() * len(labels)
        self._correct += (logits.argmax(1) == labels).sum()


class GraphedStep(TrainStep):
    """A `TrainStep` that is recorded as a CUDA graph after a few steps, and replayed from then on.

    Batches must have one shape. Parameters, buffers and the optimizer's state must stay where they are. A step that
    cannot be recorded runs eagerly, and the reason is logged.
    """

    def __init__(self, loss: Loss, optimizer: Optimizer, device: torch.device) -> None:
        super().__init__(loss, optimizer, device)
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps_before = WARM_UP_STEPS
        self._can_record = True
        self._batch: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._lrs: list[Tensor] = []

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """See `TrainStep`."""
        if self._graph is None and self._steps_before == 0 and self._can_record:
            self._record(images, labels)
        if self._graph is not None:
            for kept, given in zip(self._batch, (images, labels), strict=True):
                kept.copy_(given)
            for lr, group in zip(self._lrs, self.optimizer.param_groups, strict=True):
                lr.fill_(group["lr"])
            self._graph.replay()
            return
        self._steps_before = max(0, self._steps_before - 1)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            super().__call__(images, labels)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self, images: Tensor, labels: Tensor) -> None:
        """Record the step on copies of the batch and of the learning rates, which later steps overwrite."""
        groups = self.optimizer.param_groups
        before: list[dict[str, Any]] = [
            {key: group[key] for key in ("lr", "capturable") if key in group} for group in groups
        ]
        self._batch = images.clone(), labels.clone()
        self._lrs = [torch.full((), group["lr"], device=images.device) for group in groups]
        graph = torch.cuda.CUDAGraph()
        try:
            for group, lr, kept in zip(groups, self._lrs, before, strict=True):
                group.update({**kept, "capturable": True, "lr": lr} if "capturable" in kept else {"lr": lr})
            # thread_local: the data loader's thread may pin memory meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                super().__call__(*self._batch)
            self._graph = graph
        except Exception as error:  # a model may contain operations that cannot be recorded, such as a read on the host
            # CUDA reports a recording that it had to give up by the type of error that a lost device has.
            if is_device_lost(error) and "capture" not in str(error):
                raise
            self._can_record = False
            self.optimizer.zero_grad(set_to_none=True)
            log.warning("The training step cannot be recorded as a CUDA graph: %s", first_line(_cause(error)))
        finally:
            for group, kept in zip(groups, before, strict=True):
                group.update(kept)


def _cause(error: BaseException) -> BaseException:
    """Return the first error: a failed recording raises another one at its end."""
    while error.__context__ is not None:
        error = error.__context__
    return error
