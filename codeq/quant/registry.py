"""The quantizers by name: a closed registry, filled by a decorator where each quantizer is defined."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.func import functional_call, vmap


class Quantizer(nn.Module, ABC):
    """What every quantizer is: a module from a latent weight to the weight that the layer computes with."""

    @abstractmethod
    def forward(self, w: Tensor) -> Tensor:
        """`w` (any shape) quantized, in the same shape, dtype and device."""

    @abstractmethod
    def get_bitwidth(self) -> Tensor:
        """Bits a weight takes, a scalar tensor on the quantizer's device. Never waits for that device."""

    @staticmethod
    def quantize_layers(
        quantizers: Sequence["Quantizer"],
        weights: Sequence[Tensor],
        states: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> list[Tensor]:
        """Each of `weights` quantized as its own of `quantizers`, which are all of this class, would in `forward`.

        Training steps call this, not `forward`: a class that inherits another's quicker way and has a forward of its
        own overrides both.

        states: where K copies of each quantizer are meant, their parameters and buffers by name, each [K, ...]; the
        weights are [K, ...] then.
        """
        if states is None:
            return [quantizer(w) for quantizer, w in zip(quantizers, weights, strict=True)]
        return [
            vmap(lambda own, w, quantizer=quantizer: functional_call(quantizer, own, (w,)))(dict(state), w)
            for quantizer, w, state in zip(quantizers, weights, states, strict=True)
        ]


Entry = TypeVar("Entry", bound=type[Quantizer])

_QUANTIZERS: dict[str, type[Quantizer]] = {}


def register_quantizer(name: str) -> Callable[[Entry], Entry]:
    """Class decorator: the class becomes what `name` builds.

    Raises ValueError: `name` is taken.
    """

    def add(entry: Entry) -> Entry:
        if name in _QUANTIZERS:
            raise ValueError(f"quantizer {name!r} is registered already, as {_QUANTIZERS[name].__qualname__}")
        _QUANTIZERS[name] = entry
        return entry

    return add


def quantizer_names() -> list[str]:
    """The registered names, in alphabetical order."""
    return sorted(_QUANTIZERS)


def quantizer_class(name: str) -> type[Quantizer]:
    """The class registered as `name`.

    Raises ValueError: no such name; the message lists the names there are and the nearest one.
    """
    if name not in _QUANTIZERS:
        near = get_close_matches(name, _QUANTIZERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"quantizer {name!r}: unknown, must be one of {', '.join(quantizer_names())}{hint}")
    return _QUANTIZERS[name]


def build_quantizer(name: str, **kwargs: Any) -> Quantizer:
    """A new quantizer of the class registered as `name`, constructed with `kwargs`.

    Raises ValueError: no such name, or a value the quantizer refuses. TypeError: a keyword it does not have.
    """
    return quantizer_class(name)(**kwargs)
