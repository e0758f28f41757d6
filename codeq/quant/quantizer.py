"""What every quantizer is, and a new one by its registered name."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from codeq.config.errors import format_value
from codeq.registry import QUANTIZERS, Part


class Quantizer(nn.Module, ABC):
    """What every quantizer is: a module from a latent weight to the weight that the layer computes with."""

    @abstractmethod
    def forward(self, w: Tensor) -> Tensor:
        """`w` (any shape) quantized, in the same shape, dtype and device."""

    @abstractmethod
    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor on the quantizer's device. Never waits for that device."""


class PluginQuantizer(Quantizer):
    """A plug-in's quantizer, which need not be a `Quantizer`: its results are checked."""

    def __init__(self, part: Part, quantizer: nn.Module) -> None:
        super().__init__()
        self._part, self.own = part, quantizer

    def forward(self, w: Tensor) -> Tensor:
        """`w` quantized. Raises PluginError if the plug-in raises or changes its shape."""
        try:
            out = self.own(w)
        except Exception as error:
            raise self._part.error(f"forward: {type(error).__name__}: {error}", error) from error
        if not isinstance(out, Tensor) or out.shape != w.shape:
            given = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise self._part.error(f"forward of a weight {list(w.shape)} gives {given}, must keep the shape")
        return out

    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes. Raises PluginError if the plug-in raises or gives anything but a scalar tensor."""
        try:
            bits = self.own.get_bitwidth()  # type: ignore[operator]
        except Exception as error:
            raise self._part.error(f"get_bitwidth: {type(error).__name__}: {error}", error) from error
        if not isinstance(bits, Tensor) or bits.shape != ():
            given = f"a tensor {list(bits.shape)}" if isinstance(bits, Tensor) else format_value(bits)
            raise self._part.error(f"get_bitwidth gives {given}, must give a scalar tensor")
        return bits


def build_quantizer(name: str, **kwargs: Any) -> Quantizer:
    """A new quantizer of the registered `name` with `kwargs`.

    Raises ValueError: no such name, or a keyword or value that the quantizer does not take.
    """
    part = QUANTIZERS[name]
    quantizer = part(**part.arguments(kwargs))
    if isinstance(quantizer, Quantizer):
        return quantizer
    if not isinstance(quantizer, nn.Module) or not callable(getattr(quantizer, "get_bitwidth", None)):
        raise part.error(f"is a {type(quantizer).__name__}, must be a torch.nn.Module with forward and get_bitwidth")
    return PluginQuantizer(part, quantizer)
