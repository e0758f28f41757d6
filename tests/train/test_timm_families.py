"""A network of every family of timm trains with the dead zone, and what it computes is counted.

The networks are small ones on small images. Those that take seconds are marked as slow: `make test-networks` runs them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from codeq.config import RunConfig
from codeq.data import load_data
from codeq.data.raw import PixelSet, RawImages
from codeq.quant import is_norm, quantized_layers
from codeq.train.loop import TrainState, create_train_state, fit

TINY_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 3}
SHALLOW = {"depths": [1, 1, 1, 1]}
LAYERS = {"layers": [1, 1, 1, 1]}

Network = tuple[str, int, dict[str, Any]]
"""Name, image size, arguments of the builder."""

QUICK: dict[str, Network] = {
    "beit": ("beit_base_patch16_224", 32, TINY_VIT),
    "byobnet": ("test_byobnet", 32, {}),
    "cait": ("cait_xxs24_224", 32, TINY_VIT),
    "convit": ("convit_tiny", 32, {"depth": 2}),
    "convnext": ("test_convnext", 32, {}),
    "davit": ("davit_tiny", 32, {**SHALLOW, "embed_dims": [16, 32, 64, 64], "num_heads": [1, 2, 2, 2]}),
    "deepseek_vit": ("deepseek_vit_412m", 28, TINY_VIT),
    "deit": ("deit_tiny_distilled_patch16_224", 32, {"depth": 2}),
    "densenet": ("densenet121", 32, {"block_config": [2, 2, 2, 2]}),
    "edgenext": ("edgenext_xx_small", 32, {}),
    "efficientformer": ("efficientformer_l1", 224, {"embed_dims": [16, 32, 48, 64], "depths": [1, 1, 1, 2]}),
    "efficientnet": ("test_efficientnet", 32, {}),
    "eva": ("eva02_base_patch14_224", 28, TINY_VIT),
    "gemma4_vit": ("gemma4_vit_167m", 32, TINY_VIT),
    "hiera": ("hiera_tiny_224", 64, {"embed_dim": 16, "stages": [1, 1, 1, 1]}),
    "hieradet_sam2": ("sam2_hiera_tiny", 64, {"embed_dim": 16, "stages": [1, 1, 1, 1]}),
    "mambaout": ("test_mambaout", 32, {}),
    "mobilenetv3": ("lcnet_035", 32, {}),
    "naflexvit": ("naflexvit_base_patch16_map", 32, TINY_VIT),
    "nfnet": ("test_nfnet", 32, {}),
    "qwen3_vit": ("qwen3_vit_88m_merge", 32, TINY_VIT),
    "resnet": ("resnet18", 32, {}),
    "sequencer": ("sequencer2d_s", 56, {**LAYERS, "embed_dims": [24, 48, 48, 48], "hidden_sizes": [6, 12, 12, 12]}),
    "starnet": ("starnet_s050", 32, {}),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 64, {**SHALLOW, "embed_dim": 24, "window_size": 2}),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", 64, {**SHALLOW, "embed_dim": 24, "window_size": 2}),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 64, {**SHALLOW, "embed_dim": 24}),
    "tnt": ("tnt_s_patch16_224", 32, {"depth": 2}),
    "vision_transformer": ("test_vit", 32, {}),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 64, {"depth": 2}),
    "vision_transformer_relpos": ("test_vit_relpos", 32, {}),
    "vision_transformer_sam": ("samvit_base_patch16_224", 32, {**TINY_VIT, "global_attn_indexes": [1]}),
    "vovnet": ("ese_vovnet19b_slim_dw", 32, {}),
    "xcit": ("xcit_nano_12_p16_224", 32, {"depth": 2}),
}
SLOW: dict[str, Network] = {
    "byoanet": ("botnet26t_256", 64, {}),
    "coat": ("coat_lite_tiny", 32, {"serial_depths": [1, 1, 1, 1]}),
    "convmixer": ("convmixer_1024_20_ks9_p14", 28, {}),
    "cpubone": ("cpubone_nano", 32, {}),
    "crossvit": ("crossvit_tiny_240", 240, {}),
    "csatv2": ("csatv2", 64, {}),
    "cspnet": ("cs3darknet_focus_s", 32, {}),
    "cspnext": ("cspnext_tiny", 32, {}),
    "dla": ("dla46x_c", 32, {}),
    "dpn": ("dpn48b", 32, {}),
    "efficientformer_v2": ("efficientformerv2_s0", 64, {}),
    "efficientvim": ("efficientvim_m1", 64, {}),
    "efficientvit_mit": ("efficientvit_b0", 32, {}),
    "efficientvit_msra": ("efficientvit_m0", 64, {}),
    "fasternet": ("fasternet_t0", 32, {}),
    "fastvit": ("fastvit_t8", 32, {}),
    "focalnet": ("focalnet_tiny_srf", 32, {}),
    "gcvit": ("gcvit_xxtiny", 64, {}),
    "ghostnet": ("ghostnet_050", 32, {}),
    "hardcorenas": ("hardcorenas_a", 32, {}),
    "hgnet": ("hgnetv2_b0", 32, {}),
    "hrnet": ("hrnet_w18_small", 32, {}),
    "iformer": ("iformer_t", 64, {}),
    "inception_next": ("inception_next_atto", 32, {}),
    "inception_resnet_v2": ("inception_resnet_v2", 80, {}),
    "inception_v3": ("inception_v3", 80, {}),
    "inception_v4": ("inception_v4", 80, {}),
    "lcnetv2": ("lcnetv2_small", 32, {}),
    "levit": ("levit_128s", 64, {}),
    "lowformer": ("lowformer_b0", 32, {}),
    "maxxvit": ("test_maxvit", 64, {}),
    "metaformer": ("poolformer_s12", 32, {}),
    "mlp_mixer": ("mixer_s32_224", 32, {}),
    "mobilenetv5": ("mobilenetv5_base", 32, {"channel_multiplier": 0.1}),
    "mobilevit": ("mobilevit_xxs", 64, {}),
    "mvitv2": ("mvitv2_tiny", 32, {}),
    "nasnet": ("nasnetalarge", 32, {"stem_size": 8, "num_features": 96}),
    "nest": ("nest_tiny", 32, {}),
    "nextvit": ("nextvit_small", 32, {}),
    "pit": ("pit_ti_distilled_224", 64, {}),
    "pnasnet": ("pnasnet5large", 32, {}),
    "pvt_v2": ("pvt_v2_b0", 32, {}),
    "rdnet": ("rdnet_tiny", 32, {"growth_rates": [16] * 7}),
    "regnet": ("regnetx_002", 32, {}),
    "repghost": ("repghostnet_050", 32, {}),
    "repvit": ("repvit_m1", 32, {}),
    "res2net": ("res2net50_14w_8s", 32, LAYERS),
    "resnest": ("resnest14d", 32, {}),
    "resnetv2": ("resnetv2_18", 32, {}),
    "rexnet": ("rexnet_100", 32, {}),
    "selecsls": ("selecsls42", 32, {}),
    "senet": ("legacy_seresnet18", 32, {}),
    "shvit": ("shvit_s1", 64, {}),
    "sknet": ("skresnet18", 32, {}),
    "swiftformer": ("swiftformer_xs", 32, {}),
    "tiny_vit": ("tiny_vit_5m_224", 64, {}),
    "tresnet": ("tresnet_m", 32, LAYERS),
    "twins": ("twins_svt_small", 64, SHALLOW),
    "vgg": ("vgg11_bn", 32, {"mlp_ratio": 0.01}),
    "visformer": ("visformer_tiny", 32, {}),
    "vitamin": ("vitamin_small_224", 32, {}),
    "volo": ("volo_d1_224", 32, {}),
    "xception": ("legacy_xception", 32, {}),
    "xception_aligned": ("xception41p", 32, {}),
}
PARAMETERS = [
    *(pytest.param(*network, id=family) for family, network in QUICK.items()),
    *(pytest.param(*network, id=family, marks=pytest.mark.slow) for family, network in SLOW.items()),
]

OTHER_PRODUCTS = {
    "gemma4_vit_167m": 4 * 2 * 10_240 * 48,
    "csatv2": -14 * 2 * 7 * 7,
}
"""What the operators do not tell: a lookup of 4 patches' position embeddings in 2 tables, a batched product with a
weight; in 14 blocks 2 products of activations that are not batched."""


def one_step(name: str, img_size: int, kwargs: dict[str, Any]) -> TrainState:
    """A run of one epoch of one step, with noise instead of images."""
    config = RunConfig.model_validate(
        {
            "model": {"name": f"timm/{name}", "kwargs": kwargs},
            "dataset": "synthetic",
            "img_size": img_size,
            "val_fraction": 0.0,
            "epochs": 1,
            "batch_size": 2,
            "device": "cpu",
            "threads": 1,
            "quantizer": {"name": "deadzone"},
            "optimizer": {"type": "adamw", "param_groups": {"base": {"lr": 0.001}, "dz": {"lr": 0.001}}},
        }
    )
    pixels = np.random.RandomState(0).randint(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    images = PixelSet(pixels, np.array([0, 1]))
    return create_train_state(config, load_data(config, torch.device("cpu"), RawImages("synthetic", 2, images, images)))


@pytest.mark.parametrize(("name", "img_size", "kwargs"), PARAMETERS)
def test_a_network_of_the_family_trains_and_its_products_are_counted(
    name: str, img_size: int, kwargs: dict[str, Any]
) -> None:
    state = one_step(name, img_size, kwargs)
    assert sum(state.macs.values()) == weight_macs(state.model, img_size) + OTHER_PRODUCTS.get(name, 0)
    (row,) = fit(state)
    # After so few steps a network may still answer at chance; a layer without weights would be another reason.
    assert row.status == "finished" or "no better than chance" in row.reason
    assert math.isfinite(row.loss)
    layers = {name: module for name, module, _ in quantized_layers(state.model)}
    assert not any(is_norm(module) for module in layers.values())
    assert all(layers[name].weight.any() for name in state.zero_at_start)
    bits = sum(macs * (8 if name in layers else 32) for name, macs in state.macs.items()) / sum(state.macs.values())
    assert row.structured_bops == pytest.approx(bits / 32, abs=0.001)  # every channel has weights and is fed


def test_every_family_of_timm_has_a_network_here() -> None:
    missing = set(timm.list_modules()) - QUICK.keys() - SLOW.keys()
    if missing:
        pytest.skip(f"families of a newer timm: {', '.join(sorted(missing))}")


def weight_macs(model: nn.Module, img_size: int) -> int:
    """PyTorch's own count of the products with weights.

    With gradients, PyTorch multiplies weights by mm, and batches (bmm) the products of attention. Filters that are no
    parameters are left out.
    """
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.ones(1, 3, img_size, img_size))
    model.train()

    def macs(module: str) -> int:
        operators = {str(operator): flops for operator, flops in counter.get_flop_counts().get(module, {}).items()}
        return sum(operators.get(f"aten.{operator}", 0) for operator in ("convolution", "mm", "addmm")) // 2

    fixed = [name for name, module in model.named_modules() if module._buffers and not list(module.parameters())]
    return macs("Global") - sum(macs(f"{type(model).__name__}.{name}") for name in fixed)
