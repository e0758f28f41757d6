"""The dead-zone quantizer, forward and backward, against its literal transcription."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from benchmarks.options import Options
from benchmarks.profile import top_operators
from benchmarks.reference.networks import ResNet20
from benchmarks.reference.quantizer import LiteralDeadZone
from benchmarks.row import Row, interleave
from codeq.quant.dead_zone import DeadZoneLDZCompander, quantize_layers

TARGET = 3.0
AGAINST = "literal autograd, kthvalue"


def quantizer(options: Options) -> list[Row]:
    """Measure one large weight, and the 20 weights of a network."""
    torch.manual_seed(0)
    mlp = [0.02 * torch.randn(120, 3072)]
    resnet20 = [p.detach() for p in ResNet20().parameters() if p.dim() > 1]
    return [
        _row("quantizer, forward and backward, weight 120 x 3072", mlp, options),
        _row("quantizer, forward and backward, the 20 weights of ResNet-20", resnet20, options),
    ]


def _row(name: str, weights: Sequence[Tensor], options: Options) -> Row:
    ours = _step(DeadZoneLDZCompander, weights, quantize_layers)  # as a training step calls it
    theirs = _step(LiteralDeadZone, weights, _one_after_the_other)
    own_ms, literal_ms = interleave(_milliseconds(ours, options), _milliseconds(theirs, options), options.rounds(15, 3))
    row = Row(name, "ms", AGAINST, own_ms, literal_ms, lower_is_better=True, target=TARGET)
    row.profile.extend(top_operators(ours) if row.missed else [])
    return row


Quantize = Callable[[Sequence[Any], Sequence[Tensor]], Sequence[Tensor]]


def _one_after_the_other(quantizers: Sequence[Any], weights: Sequence[Tensor]) -> list[Tensor]:
    return [quantizer(w) for quantizer, w in zip(quantizers, weights, strict=True)]


def _step(kind: type[nn.Module], weights: Sequence[Tensor], quantize: Quantize) -> Callable[[], None]:
    """Quantize every weight with its own learnable bit-width and dead zone, then compute all gradients."""
    quantizers = [kind(learnable_bit=True) for _ in weights]
    latent = [w.clone().requires_grad_() for w in weights]
    incoming = [torch.randn_like(w) for w in weights]
    learned = [*latent, *(p for each in quantizers for p in each.parameters())]

    def step() -> None:
        torch.autograd.grad(quantize(quantizers, latent), learned, incoming)

    return step


def _milliseconds(step: Callable[[], None], options: Options) -> Callable[[], float]:
    timer = Timer("step()", globals={"step": step}, num_threads=options.threads)
    return lambda: 1000 * timer.timeit(options.rounds(20, 3)).median
