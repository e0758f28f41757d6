"""The tensors of K runs as one stack, run k in row k, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeq.train.loop import TrainState


@dataclass(frozen=True)
class Group:
    """One parameter group of K runs. flat: (K, P), each run's parameters end to end. names: whose they are, in order.

    leaves: the parameters by name, (K, *shape) each, which require gradients and share `flat`'s memory.
    """

    index: int
    flat: Tensor
    names: list[str]
    leaves: dict[str, Tensor]

    def take_gradients(self) -> list[Tensor]:
        """The leaves' gradients, (K, *shape) each and contiguous; they are taken away from the leaves.

        Raises RuntimeError if a leaf has none: alone its run would not step it, and together there is no way to.
        """
        gradients = []
        for name, leaf in self.leaves.items():
            if leaf.grad is None:
                raise RuntimeError(f"{name} gets no gradient")
            gradients.append(leaf.grad.contiguous())
            leaf.grad = None
        return gradients


@dataclass(frozen=True)
class Stack:
    """K runs' tensors: the optimizer's groups, and what is not trained (frozen logits, buffers) as (K, *shape)."""

    groups: list[Group]
    fixed: dict[str, Tensor]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its name in the model, (K, *shape) each."""
        return {**self.fixed, **{name: leaf for group in self.groups for name, leaf in group.leaves.items()}}


def stack_runs(states: Sequence[TrainState]) -> Stack:
    """A copy of the runs' parameters and buffers, stacked."""
    named = [dict(state.model.named_parameters()) for state in states]
    name_of = {id(parameter): name for name, parameter in named[0].items()}
    groups = []
    for index, group in enumerate(states[0].optimizer.param_groups):
        names = [name_of[id(parameter)] for parameter in group["params"]]
        flat = torch.stack([flatten([of_run[name].detach() for name in names]) for of_run in named])
        groups.append(Group(index, flat, names, _leaves(flat, names, named[0])))
    trained = {name for group in groups for name in group.names}
    everything = [{**of_run, **dict(state.model.named_buffers())} for of_run, state in zip(named, states, strict=True)]
    fixed = {
        name: torch.stack([tensors[name].detach() for tensors in everything])
        for name in everything[0]
        if name not in trained
    }
    return Stack(groups, fixed)


def _leaves(flat: Tensor, names: list[str], like: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    parts = flat.split([like[name].numel() for name in names], dim=1)
    return {
        name: part.view(len(flat), *like[name].shape).requires_grad_()
        for name, part in zip(names, parts, strict=True)
    }


@torch.no_grad()
def unstack_runs(stack: Stack, states: Sequence[TrainState]) -> None:
    """Give every run its row of the stack."""
    for k, state in enumerate(states):
        tensors = {**dict(state.model.named_parameters()), **dict(state.model.named_buffers())}
        for group in stack.groups:
            own = [tensors[name] for name in group.names]
            unflatten(group.flat[k], own)
        for name, rows in stack.fixed.items():
            tensors[name].copy_(rows[k])


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All elements of `tensors`, one tensor after the other, each in its logical order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """The opposite of `flatten`: fill `tensors` in place."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])
