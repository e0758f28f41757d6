"""Quantizers that prune and quantize weights during training; attaching them to a model and removing them."""

from codeq.quant.all_layers import all_layers_quantized
from codeq.quant.attach import (
    FakeQuantParametrization,
    attach_weight_quantizers,
    layer_names,
    quantized_layers,
    toggle_quantization,
)
from codeq.quant.base import Quantizer, build_quantizer
from codeq.quant.dead_zone import DeadZoneLDZCompander, dead_zone_quantize
from codeq.quant.materialize import materialize
from codeq.quant.norms import is_norm
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
    "is_norm",
    "layer_names",
    "materialize",
    "quantized_layers",
    "toggle_quantization",
    "uniform_quantize",
]
