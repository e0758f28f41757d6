"""The optimizers of K runs as one: every number of theirs is a vector with one entry per run.

Each step does what torch.optim's AdamW, Adam and SGD do to one run, to all rows of a stack at once. The state comes
from and goes back to the runs' own optimizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from codeq.train.fused.stack import Group, flatten, unflatten

Factors = dict[str, Tensor]

_ADAM_SLOTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")  # the last with amsgrad alone


def _adam_slots(options: dict[str, Any]) -> tuple[str, ...]:
    return _ADAM_SLOTS if options["amsgrad"] else _ADAM_SLOTS[:2]


class StackedOptimizer(ABC):
    """One parameter group of K runs for the coming `steps` steps, during which learning rates do not change."""

    def __init__(self, group: Group, optimizers: Sequence[Optimizer], steps: int) -> None:
        self.group, self.optimizers, self.steps = group, optimizers, steps
        self.options: list[dict[str, Any]] = [optimizer.param_groups[group.index] for optimizer in optimizers]
        self.state = {slot: self._stacked(slot) for slot in self.slots}
        self._factors = {name: self._to_device(values) for name, values in self.factors().items()}
        self._next = 0

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """The tensors that torch keeps for each parameter, by torch's names."""

    @abstractmethod
    def factors(self) -> Factors:
        """What the steps multiply by, float64: (K,), or (steps, K) where it changes from step to step."""

    @abstractmethod
    def update(self, p: Tensor, grad: Tensor, factor: Factors) -> None:
        """One step: change `p` (K, P) and the state in place; `grad` may be used up. factor: (K, 1) each."""

    @abstractmethod
    def write_back(self) -> None:
        """Give every run's optimizer its state, as torch keeps it."""

    def step(self) -> None:
        """Apply the gradients that the group's leaves hold."""
        factor = {name: values[self._next] for name, values in self._factors.items()}
        gradient = torch.cat([gradient.view(len(gradient), -1) for gradient in self.group.take_gradients()], dim=1)
        self.update(self.group.flat, gradient, factor)
        self._next += 1

    def option(self, name: str, index: int | None = None) -> Tensor:
        """An option of the group, or one entry of an option that is a pair: one number per run, float64 (K,)."""
        values = [options[name] if index is None else options[name][index] for options in self.options]
        return torch.tensor([float(value) for value in values], dtype=torch.float64)

    def write_slots(self, k: int, slots: Sequence[str]) -> None:
        """Copy row `k` of the state into the optimizer of run `k`."""
        of_run = self.optimizers[k].state
        for slot in slots:
            for parameter in self.options[k]["params"]:
                if of_run[parameter].get(slot) is None:
                    of_run[parameter][slot] = torch.zeros_like(parameter)
            unflatten(self.state[slot][k], [of_run[parameter][slot] for parameter in self.options[k]["params"]])

    def _stacked(self, slot: str) -> Tensor:
        rows = []
        for optimizer, options in zip(self.optimizers, self.options, strict=True):
            kept = [optimizer.state[parameter].get(slot) for parameter in options["params"]]
            zeros = [torch.zeros_like(parameter) for parameter in options["params"]]
            rows.append(flatten([zero if tensor is None else tensor for tensor, zero in zip(kept, zeros, strict=True)]))
        return torch.stack(rows)

    def _to_device(self, values: Tensor) -> Tensor:
        flat = self.group.flat
        return values.expand(self.steps, -1).to(flat.device, flat.dtype).unsqueeze(2)  # (steps, K, 1)


class StackedAdam(StackedOptimizer):
    """Adam and AdamW (arXiv 1412.6980, 1711.05101), whose weight decay is decoupled from the gradient."""

    @property
    def slots(self) -> tuple[str, ...]:
        return _adam_slots(self.options[0])

    def factors(self) -> Factors:
        lr, decay = self.option("lr"), self.option("weight_decay")
        beta1, beta2 = self.option("betas", 0), self.option("betas", 1)
        count = self._steps_done() + torch.arange(1, self.steps + 1, dtype=torch.float64)[:, None]  # (steps, K)
        return {
            "keep": 1 - lr * decay,
            "decay": decay,
            "first": 1 - beta1,
            "second": 1 - beta2,
            "bias": (1 - beta2**count).rsqrt(),
            "eps": self.option("eps"),
            "rate": -lr / (1 - beta1**count),
        }

    def update(self, p: Tensor, grad: Tensor, factor: Factors) -> None:
        if isinstance(self.optimizers[0], AdamW):
            p.mul_(factor["keep"])
        else:
            grad = grad.addcmul(p, factor["decay"])
        self.state["exp_avg"].lerp_(grad, factor["first"])
        second = self.state["exp_avg_sq"].lerp_(grad.square(), factor["second"])
        if "max_exp_avg_sq" in self.state:
            second = torch.maximum(self.state["max_exp_avg_sq"], second, out=self.state["max_exp_avg_sq"])
        denominator = second.sqrt().mul_(factor["bias"]).add_(factor["eps"])
        p.addcmul_(torch.div(self.state["exp_avg"], denominator, out=denominator), factor["rate"])

    def write_back(self) -> None:
        for k, optimizer in enumerate(self.optimizers):
            for parameter in self.options[k]["params"]:
                step = optimizer.state[parameter].setdefault("step", torch.zeros((), device=parameter.device))
                step += self._next
            self.write_slots(k, self.slots)

    def _steps_done(self) -> Tensor:
        first = [optimizer.state[self.options[k]["params"][0]] for k, optimizer in enumerate(self.optimizers)]
        return torch.tensor([float(state.get("step", 0.0)) for state in first], dtype=torch.float64)


class StackedSgd(StackedOptimizer):
    """Stochastic gradient descent with momentum, dampening and Nesterov's variant as in torch.optim.SGD."""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def factors(self) -> Factors:
        momentum = self.option("momentum")
        new = torch.arange(self.steps)[:, None] == 0
        # The first gradient enters the buffer undampened; without momentum the buffer is the gradient.
        whole = (new & ~self._has_momentum()) | (momentum == 0)
        return {
            "decay": self.option("weight_decay"),
            "momentum": momentum,
            "take": torch.where(whole, 1.0, 1 - self.option("dampening")),
            "rate": -self.option("lr"),
        }

    def update(self, p: Tensor, grad: Tensor, factor: Factors) -> None:
        grad = grad.addcmul(p, factor["decay"])
        buffer = self.state["momentum_buffer"].mul_(factor["momentum"]).addcmul_(grad, factor["take"])
        direction = grad.addcmul_(buffer, factor["momentum"]) if self.options[0]["nesterov"] else buffer
        p.addcmul_(direction, factor["rate"])

    def write_back(self) -> None:
        for k, options in enumerate(self.options):
            self.write_slots(k, self.slots if options["momentum"] else ())

    def _has_momentum(self) -> Tensor:
        first = [optimizer.state[self.options[k]["params"][0]] for k, optimizer in enumerate(self.optimizers)]
        return torch.tensor([state.get("momentum_buffer") is not None for state in first])


class RunByRunOptimizer:
    """The fused kernels of torch.optim, called run by run: a CPU takes no longer, and rounds the same."""

    def __init__(self, group: Group, optimizers: Sequence[Optimizer]) -> None:
        self._group, self._optimizers = group, optimizers
        self._options: list[dict[str, Any]] = [optimizer.param_groups[group.index] for optimizer in optimizers]
        self._rows = list(zip(*(leaf.detach().unbind() for leaf in group.leaves.values()), strict=True))
        self._states = [self._copy_of_state(k) for k in range(len(optimizers))]

    def step(self) -> None:
        """Apply the gradients that the group's leaves hold."""
        gradients = [gradient.unbind() for gradient in self._group.take_gradients()]
        for k, of_run in enumerate(zip(*gradients, strict=True)):
            self._step_of(k, list(of_run))

    def write_back(self) -> None:
        """Give every run's optimizer its state, as torch keeps it."""
        for optimizer, options, states in zip(self._optimizers, self._options, self._states, strict=True):
            for parameter, state in zip(options["params"], states, strict=True):
                optimizer.state[parameter] = {
                    name: tensor if name == "step" else torch.empty_like(parameter).copy_(tensor)
                    for name, tensor in state.items()
                }

    def _copy_of_state(self, k: int) -> list[dict[str, Tensor]]:
        """Of each parameter, in the memory format of its row."""
        optimizer, options, states = self._optimizers[k], self._options[k], []
        for parameter in options["params"]:
            kept = {name: tensor.contiguous().clone() for name, tensor in optimizer.state[parameter].items()}
            if not kept and not isinstance(optimizer, SGD):
                zeros = {slot: torch.zeros(parameter.shape) for slot in _adam_slots(options)}
                kept = {"step": torch.zeros(()), **zeros}
            states.append(kept)
        return states

    def _step_of(self, k: int, gradients: list[Tensor]) -> None:
        options, states, rows = self._options[k], self._states[k], list(self._rows[k])
        if isinstance(self._optimizers[k], SGD):
            is_first = "momentum_buffer" not in states[0]
            if options["momentum"] and is_first:
                for state, row in zip(states, rows, strict=True):
                    state["momentum_buffer"] = torch.empty_like(row)
            torch._fused_sgd_(
                rows, gradients, [state["momentum_buffer"] for state in states] if options["momentum"] else [],
                weight_decay=options["weight_decay"], momentum=options["momentum"], lr=options["lr"],
                dampening=options["dampening"], nesterov=options["nesterov"], maximize=False, is_first_step=is_first,
            )  # fmt: skip
            return
        slots = {slot: [state[slot] for state in states if slot in state] for slot in _ADAM_SLOTS}
        torch._foreach_add_([state["step"] for state in states], 1)
        kernel = torch._fused_adamw_ if isinstance(self._optimizers[k], AdamW) else torch._fused_adam_
        kernel(
            rows, gradients, slots["exp_avg"], slots["exp_avg_sq"], slots["max_exp_avg_sq"],
            [state["step"] for state in states], lr=options["lr"], beta1=options["betas"][0], beta2=options["betas"][1],
            weight_decay=options["weight_decay"], eps=options["eps"], amsgrad=options["amsgrad"], maximize=False,
        )  # fmt: skip


def stack_optimizer(
    group: Group, optimizers: Sequence[Optimizer], steps: int
) -> StackedOptimizer | RunByRunOptimizer:
    """One group of the runs' optimizers, which are of one type, for `steps` steps: in the way that is quicker there."""
    if group.flat.device.type == "cpu":
        return RunByRunOptimizer(group, optimizers)
    kind = StackedSgd if isinstance(optimizers[0], SGD) else StackedAdam
    return kind(group, optimizers, steps)
