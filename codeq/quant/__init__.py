"""Weights pruned and quantized while they train: the quantizers, and how a model gets and loses them."""

from codeq.quant.all_layers import all_layers_quantized
from codeq.quant.attach import (
    FakeQuantParametrization,
    attach_weight_quantizers,
    quantized_layers,
    toggle_quantization,
)
from codeq.quant.dead_zone import DeadZoneLDZCompander, dead_zone_quantize
from codeq.quant.materialize import materialize
from codeq.quant.quantizer import Quantizer, build_quantizer
from codeq.quant.uniform import UniformSymmetric, uniform_quantize

__all__ = [
    "DeadZoneLDZCompander",
    "FakeQuantParametrization",
    "Quantizer",
    "UniformSymmetric",
    "all_layers_quantized",
    "attach_weight_quantizers",
    "build_quantizer",
    "dead_zone_quantize",
    "materialize",
    "quantized_layers",
    "toggle_quantization",
    "uniform_quantize",
]
