"""Which layers are norms: their weights are scales of channels, no weights to prune."""

from torch import Tensor, nn

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def is_norm(module: nn.Module) -> bool:
    """Whether `module` is a normalization layer.

    A norm that is not derived from one of PyTorch's is recognized by a class with "norm" in its name and a weight of at
    most one dimension, such as timm's `RmsNorm`, `FilterResponseNormTlu2d` and `EvoNorm2dS0`.
    """
    if isinstance(module, _NORMS):
        return True
    weight = getattr(module, "weight", None)
    is_scale = isinstance(weight, Tensor) and weight.dim() <= 1
    return is_scale and any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
