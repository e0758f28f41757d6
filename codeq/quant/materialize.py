"""Converts a model with attached quantizers to a plain one that contains the quantized weights."""

import copy
from typing import TypeVar, cast

from torch import nn
from torch.nn.utils import parametrize

Model = TypeVar("Model", bound=nn.Module)


def materialize(model: Model) -> Model:
    """Return a deep copy of `model` without parametrizations; each weight is the one that its layer used.

    Its outputs equal the model's exactly and its state dict has the plain architecture's keys. Layers whose
    quantizer is disabled keep their latent weight. `model` is not changed.
    """
    plain = copy.deepcopy(model)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            _materialize_layer(module)
    return plain


def _materialize_layer(module: nn.Module) -> None:
    """Replace each parametrized tensor of `module` by a parameter with its current value."""
    names = list(cast(nn.ModuleDict, module.parametrizations))
    values = {name: getattr(module, name).detach() for name in names}
    # parametrize.remove_parametrizations would delete the property from the class, which a deep copy shares
    # with its original: the original would lose its weight.
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value))
