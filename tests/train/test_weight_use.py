"""Products are counted and channels are followed whether a layer is called or only its weight is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from codeq.models import build_model
from codeq.quant import all_layers_quantized, attach_weight_quantizers
from codeq.train.compression import Compression, measure_compression
from codeq.train.fed_channels import FedChannels, fed_channels
from codeq.train.macs import dense_macs

SHAPE = (1, 5, 8)
TOKENS = 5


class Network(nn.Module):
    """Five tokens of eight channels through a layer, whose weight `use` reads, and through another one."""

    def __init__(self, first: nn.Module, use: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.use = first, nn.Linear(6, 4), use

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(self.use(self.first, x.flatten(1, 2)).relu())
        return torch.as_tensor(out)


class Parameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(6, 8))


WAYS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    "called": (lambda: nn.Linear(8, 6), lambda layer, x: layer(x)),
    "read": (lambda: nn.Linear(8, 6), lambda layer, x: F.linear(x, weight=layer.weight, bias=layer.bias)),
    "multiplied": (lambda: nn.Linear(8, 6), lambda layer, x: x @ layer.weight.T + layer.bias),
    "multiplied from the left": (lambda: nn.Linear(8, 6), lambda layer, x: (layer.weight @ x.mT).mT),
    "einsum": (lambda: nn.Linear(8, 6), lambda layer, x: torch.einsum("bti,oi->bto", x, layer.weight)),
    "not contiguous": (lambda: nn.Linear(8, 6), lambda layer, x: layer(x.mT.contiguous().mT)),
    "in halves": (
        lambda: nn.Linear(8, 6),
        lambda layer, x: torch.cat([F.linear(x, half) for half in layer.weight.chunk(2)], dim=-1),
    ),
    "reshaped": (lambda: nn.Conv2d(8, 6, 1), lambda layer, x: F.linear(x, layer.weight.flatten(1), layer.bias)),
    "convolution": (lambda: nn.Conv1d(8, 6, 1), lambda layer, x: layer(x.mT).mT),
    "normalized": (lambda: spectral_norm(nn.Linear(8, 6)), lambda layer, x: layer(x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_product_counts_for_the_layer_whose_weight_it_uses(way: str) -> None:
    first, use = WAYS[way]
    assert dense_macs(Network(first(), use), SHAPE) == {"first": TOKENS * 8 * 6, "second": TOKENS * 6 * 4}


def test_a_parameter_that_no_layer_owns_counts_under_its_own_name() -> None:
    model = Network(Parameter(), lambda module, x: F.linear(x, module.matrix))
    macs = dense_macs(model, SHAPE)
    assert macs == {"second": TOKENS * 6 * 4, "first.matrix": TOKENS * 8 * 6}
    with torch.no_grad():
        model.first.matrix[:, 4:] = 0.0
    found = measure_compression(model, macs, FedChannels(SHAPE))
    assert found.rel_bops == pytest.approx((6 * 4 + 8 * 6 / 2) / (6 * 4 + 8 * 6))


def test_attention_counts_its_weights_and_not_the_products_of_activations() -> None:
    """PyTorch computes a whole block in one operator, and reads the weights of two layers that it does not call."""
    block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    macs = dense_macs(nn.Sequential(nn.Flatten(1, 2), block), SHAPE)
    assert {name.removeprefix("1."): count // TOKENS for name, count in macs.items()} == {
        "self_attn.in_proj_weight": 8 * 24, "self_attn.out_proj": 8 * 8, "linear1": 8 * 16, "linear2": 8 * 16,
    }  # fmt: skip
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_filter_that_is_no_parameter_counts_nothing_and_passes_channels_on() -> None:
    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.ones(4, 1, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.kernel, padding=1, groups=4)

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Smooth(), nn.Conv2d(4, 2, 1))
    assert dense_macs(model, (3, 5, 5)) == {"0": 3 * 4 * 25, "2": 4 * 2 * 25}
    with torch.no_grad():
        model[0].weight[1] = 0.0
    assert fed_channels(model, (3, 5, 5))["2"].tolist() == [True, False, True, True]


@pytest.mark.parametrize("way", ["called", "read", "not contiguous", "in halves", "reshaped", "convolution"])
def test_channels_are_followed_through_a_layer_that_is_not_called(way: str) -> None:
    """What a bias adds to a channel without weights does not feed it."""
    first, use = WAYS[way]
    model = Network(first(), use)
    with torch.no_grad():
        model.first.weight[[1, 4]] = 0.0
    assert fed_channels(model, SHAPE)["second"].tolist() == [True, False, True, True, False, True]
    if way != "reshaped":
        assert fed_channels(model, SHAPE)["first"].tolist() == [True] * 8


def test_a_network_that_reads_a_weight_has_the_metrics_of_one_that_calls_the_layer() -> None:
    found = [compression(*WAYS[way]) for way in ("called", "read")]
    assert found[0] == found[1]
    assert found[0].structured_bops == pytest.approx(4 / 6 * 8 / 32)  # two of six channels are left out, at 8 bits


def compression(first: Callable[[], nn.Module], use: Callable[[Any, Tensor], Tensor]) -> Compression:
    torch.manual_seed(0)
    model = Network(first(), use)
    attach_weight_quantizers(model, [], "uniform", {})
    with torch.no_grad():
        model.first.parametrizations.weight.original[[1, 4]] = 0.0
    return measure_compression(model, dense_macs(model, SHAPE), FedChannels(SHAPE))


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "swinv2_tiny_window8_256", "eva02_base_patch14_224"])
def test_timms_networks_that_read_weights_count_them(name: str) -> None:
    small: dict[str, Any] = {"embed_dim": 24, "num_heads": 3, "depth": 1}
    if "swin" in name:
        small = {"embed_dim": 24, "num_heads": [3], "depths": [1]}
    size = 28 if "patch14" in name else 32
    model = build_model(f"timm/{name}", small, in_channels=3, img_size=size, num_classes=2)
    macs = dense_macs(model, (3, size, size))
    qkv = sum(count for layer, count in macs.items() if layer.endswith(("qkv", "q_proj", "k_proj", "v_proj")))
    tokens = 64 if "swin" in name else 5
    assert qkv == tokens * 24 * 3 * 24


def test_weights_that_are_quantized_as_one_tensor_are_told_apart() -> None:
    """As in an epoch's evaluation: several weights in one piece of memory."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, stride=2), nn.Conv2d(4, 4, 3, padding=1)]
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    attach_weight_quantizers(model, [], "deadzone", {"init_deadzone_logit": 0.5})
    with torch.no_grad():
        model[0].parametrizations.weight.original[0] = 0.0
    macs, fed = dense_macs(model, (4, 8, 8)), fed_channels(model, (4, 8, 8))
    with parametrize.cached(), all_layers_quantized(model):
        assert dense_macs(model, (4, 8, 8)) == macs == {"0": 144 * 64, "1": 144 * 16, "2": 144 * 16}
        together = fed_channels(model, (4, 8, 8))
    assert together.keys() == fed.keys() and all(together[name].equal(fed[name]) for name in fed)
    assert fed["1"].tolist() == [False, True, True, True] and fed["2"].all()


@pytest.mark.parametrize("name", ["resnet20", "vit", "timm/test_efficientnet"])
def test_only_shapes_are_needed_to_count(name: str) -> None:
    model = build_model(name, in_channels=3, img_size=32, num_classes=10)
    assert dense_macs(model.to("meta"), (3, 32, 32)) == dense_macs(
        build_model(name, in_channels=3, img_size=32, num_classes=10), (3, 32, 32)
    )
