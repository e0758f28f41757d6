"""The forward pass as torch.compile makes it."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch
from torch import nn

from codeq.train.training_loss import Forward


def compiled(model: nn.Module) -> Forward:
    """The compiled model. What earlier models of this process compiled is dropped: past a limit Dynamo turns eager."""
    torch.compiler.reset()
    forward: Forward = torch.compile(model)
    return forward


def can_compile(device: torch.device) -> bool:
    """Whether there is what PyTorch compiles with: Triton for CUDA, a C++ compiler for the CPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    return device.type == "cpu" and any(shutil.which(name) for name in compilers if name)
