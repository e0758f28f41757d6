"""The built-in models, data sets, loss terms and quantizers, registered with the decorators for plug-ins.

This module contains only signatures, so that a config is checked without importing torch. The implementations, and
torch with them, are imported when a part is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from codeq.config.errors import format_value
from codeq.config.types import Bits, FiniteFloat, NonNegativeFloat, PositiveInt, invalid
from codeq.plugins import dataset, loss_term, model, quantizer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from codeq.data import RawImages


def _resnet(depth: int) -> None:
    """Register the residual network of `depth` layers."""

    @model(f"resnet{depth}")
    def resnet(*, in_channels: int, num_classes: int) -> nn.Module:
        from codeq.models.resnet import CifarResNet

        return CifarResNet((depth - 2) // 6, in_channels, num_classes)


for _depth in (20, 32, 44, 56, 110):
    _resnet(_depth)


@model("mlp")
def mlp(
    *,
    in_channels: int,
    img_size: int,
    num_classes: int,
    hidden: Annotated[list[PositiveInt], Field(max_length=100, description="units of the hidden layers")] = [120, 84],  # noqa: B006
) -> nn.Module:
    from codeq.models.mlp import MLP

    return MLP(in_channels * img_size**2, hidden, num_classes)


def _timm_argument(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, bool | int | float | str) for item in items):
        raise invalid(f"is {format_value(value)}, must be a number, text, true, false, null or a list of them")
    return value


TimmArgument = Annotated[Any, AfterValidator(_timm_argument)]


@model("vit")
def vit(*, in_channels: int, img_size: int, num_classes: int, pretrained: bool, **kwargs: TimmArgument) -> nn.Module:
    from codeq.models.timm_models import VIT, ModelSpec, build_timm

    return build_timm(VIT, ModelSpec(in_channels, img_size, num_classes, pretrained), kwargs)


@model("timm/NAME")
def timm_model(
    *, name: str, in_channels: int, img_size: int, num_classes: int, pretrained: bool, **kwargs: TimmArgument
) -> nn.Module:
    from codeq.models.timm_models import ModelSpec, build_timm

    spec = ModelSpec(in_channels, img_size, num_classes, pretrained)
    return build_timm(name.removeprefix("timm/"), spec, kwargs)


@dataset("cifar10")
def cifar10(*, data_dir: str) -> RawImages:
    from codeq.data.sources.cifar import cifar10

    return cifar10(data_dir)


@dataset("cifar100")
def cifar100(*, data_dir: str) -> RawImages:
    from codeq.data.sources.cifar import cifar100

    return cifar100(data_dir)


@dataset("fashion_mnist")
def fashion_mnist(*, data_dir: str) -> RawImages:
    from codeq.data.sources.fashion_mnist import fashion_mnist

    return fashion_mnist(data_dir)


@dataset("digits")
def digits() -> RawImages:
    from codeq.data.sources.digits import digits

    return digits()


@dataset("imagefolder")
def imagefolder(
    *,
    data_dir: str,
    img_size: int | None,
    workers: int,
    skip_damaged: Annotated[bool, Field(description="read all images first and leave out the damaged ones")] = False,
) -> RawImages:
    from codeq.data.sources.imagefolder import imagefolder

    return imagefolder(data_dir, img_size, workers, skip_damaged)


@dataset("synthetic")
def synthetic() -> RawImages:
    from codeq.data.sources.synthetic import synthetic

    return synthetic()


@loss_term("group_lasso")
def group_lasso(
    model: nn.Module,
    lambda_linear: Annotated[NonNegativeFloat, Field(description="factor of the linear layers' columns")] = 1e-4,
    lambda_conv: Annotated[NonNegativeFloat, Field(description="factor of the convolutions' columns")] = 1e-4,
) -> Tensor:
    from codeq.train.loss_terms import group_lasso

    return group_lasso(model, lambda_linear, lambda_conv)


@quantizer("deadzone")
def deadzone(
    *,
    fixed_bit_val: Annotated[Bits, Field(description="bit-width when learnable_bit is false")] = 4,
    max_bits: Annotated[Bits, Field(description="upper end of the learnable bit-width; the lower end is 2")] = 8,
    init_deadzone_logit: Annotated[
        FiniteFloat, Field(description="initial logit_dz; 0 prunes everything, 3 nearly nothing")
    ] = 3.0,
    init_bit_logit: Annotated[
        FiniteFloat, Field(description="initial logit_bit; 0 is 2 bits, 3 is nearly max_bits")
    ] = 3.0,
    learnable_bit: Annotated[bool, Field(description="learn the bit-width")] = True,
    learnable_deadzone: Annotated[bool, Field(description="learn the dead zone")] = True,
) -> nn.Module:
    from codeq.quant import DeadZoneLDZCompander

    return DeadZoneLDZCompander(
        fixed_bit_val=fixed_bit_val,
        max_bits=max_bits,
        init_deadzone_logit=init_deadzone_logit,
        init_bit_logit=init_bit_logit,
        learnable_bit=learnable_bit,
        learnable_deadzone=learnable_deadzone,
    )


@quantizer("uniform")
def uniform(*, bitwidth: Annotated[Bits, Field(description="bits of every weight")] = 8) -> nn.Module:
    from codeq.quant import UniformSymmetric

    return UniformSymmetric(bitwidth)
