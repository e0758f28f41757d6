"""Weights pruned and quantized while they train: the quantizers, and how a model gets and loses them."""

from codeq.quant.attach import (
    FakeQuantParametrization,
    attach_weight_quantizers,
    quantized_layers,
    toggle_quantization,
)
from codeq.quant.bake import bake
from codeq.quant.dead_zone import DeadZoneLDZCompander, dead_zone_quantize
from codeq.quant.quantizer import Quantizer, build_quantizer
from codeq.quant.together import QuantizedTogether, quantize_stacked
from codeq.quant.transforms import is_transformed
from codeq.quant.uniform import UniformSymmetric, uniform_quantize

__all__ = [
    "DeadZoneLDZCompander",
    "FakeQuantParametrization",
    "QuantizedTogether",
    "Quantizer",
    "UniformSymmetric",
    "attach_weight_quantizers",
    "bake",
    "build_quantizer",
    "dead_zone_quantize",
    "is_transformed",
    "quantize_stacked",
    "quantized_layers",
    "toggle_quantization",
    "uniform_quantize",
]
