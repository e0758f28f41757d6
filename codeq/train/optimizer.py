"""The optimizer over the three parameter groups: base (the network), dz (logit_dz), bit (logit_bit)."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from codeq.config.run import OptimizerConfig

log = logging.getLogger(__name__)


def _uncompiled(optimizer: type[Optimizer]) -> type[Optimizer]:
    """Return `optimizer` without the hooks that PyTorch puts around its methods for torch.compile.

    The optimizer is never compiled, but the first call of a hook imports the compiler: 0.6 s and 160 MB per process.
    """
    methods = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(optimizer, name)) for name in methods}
    step = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), {**plain, "step": step, "__module__": __name__})


AdamW, Adam, SGD = map(_uncompiled, (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD))
_OPTIMIZERS = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
_LOGIT_GROUPS = {"logit_dz": "dz", "logit_bit": "bit"}
_FUSED_DEVICES = ("cpu", "cuda", "mps")


def split_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trainable parameters of `model` by group: base, dz, bit."""
    groups: dict[str, list[nn.Parameter]] = {"base": [], "dz": [], "bit": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[_LOGIT_GROUPS.get(name.rpartition(".")[2], "base")].append(parameter)
    return groups


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """Create the configured optimizer. The parameters of a group that the config omits are frozen, which is logged."""
    groups = []
    for name, parameters in split_parameters(model).items():
        options = getattr(config.param_groups, name)
        if options is not None and parameters:
            groups.append({"params": parameters, "name": name, **_arguments(options.model_dump())})
        elif parameters:
            _freeze(name, parameters)
    fused = next(model.parameters()).device.type in _FUSED_DEVICES
    return _OPTIMIZERS[config.type](groups, fused=fused)  # type: ignore[call-arg]


def _freeze(name: str, parameters: list[nn.Parameter]) -> None:
    log.info(
        "optimizer.param_groups has no %s: its %d logits stay at their initial value %g",
        name, sum(parameter.numel() for parameter in parameters), parameters[0].mean().item(),
    )  # fmt: skip
    for parameter in parameters:
        parameter.requires_grad_(False)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
