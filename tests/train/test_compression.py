"""Sparsity, bits and bit operations, counted by hand on small models and on the models of the paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from codeq.models import build_model
from codeq.quant import UniformSymmetric, attach_weight_quantizers
from codeq.storage.trial_folder import Layer
from codeq.train.compression import measure_compression
from codeq.train.fed_channels import FedChannels, fed_channels
from codeq.train.macs import dense_macs


def convolution_and_classifier() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.Flatten(), nn.Linear(64, 10))


def set_weight(module: nn.Module, weight: torch.Tensor) -> None:
    with torch.no_grad():
        module.parametrizations.weight.original.copy_(weight)


def test_dense_macs_follow_the_output_size() -> None:
    assert dense_macs(convolution_and_classifier(), (3, 8, 8)) == {"0": 3 * 4 * 9 * 4 * 4, "2": 640}


def test_grouped_convolutions_count_only_their_own_inputs() -> None:
    assert dense_macs(nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)), (4, 5, 5)) == {"0": 2 * 8 * 9 * 3 * 3}


def test_resnet20_at_32x32_has_the_published_macs() -> None:
    model = build_model("resnet20", in_channels=3, img_size=32, num_classes=10)
    assert sum(dense_macs(model, (3, 32, 32)).values()) == 40_551_040


def test_the_mlp_at_32x32_has_the_published_macs() -> None:
    model = build_model("mlp", in_channels=3, img_size=32, num_classes=10)
    assert sum(dense_macs(model, (3, 32, 32)).values()) == 379_560


def test_a_transformers_linear_layers_count_once_per_token() -> None:
    model = build_model("vit", in_channels=3, img_size=32, num_classes=10)
    macs = dense_macs(model, (3, 32, 32))
    tokens = (32 // 16) ** 2 + 1
    assert macs["blocks.0.attn.qkv"] == tokens * 192 * 3 * 192
    assert macs["blocks.0.mlp.fc1"] == tokens * 192 * 768
    assert macs["head"] == 192 * 10
    assert macs["patch_embed.proj"] == 3 * 16 * 16 * 192 * 4


def test_tracing_leaves_the_model_as_it_was() -> None:
    model = build_model("resnet20", in_channels=1, img_size=8, num_classes=10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dense_macs(model, (1, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    fed_channels(model, (1, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unquantized_model_is_the_baseline() -> None:
    model = convolution_and_classifier()
    found = measure_compression(model, dense_macs(model, (3, 8, 8)), FedChannels((3, 8, 8)))
    assert (found.rel_bops, found.sparsity, found.structured_sparsity, found.mean_bits) == (1.0, 0.0, 0.0, 32.0)
    assert found.structured_bops == 1.0
    assert found.empty_layers == ()


def test_relative_bit_operations_are_density_times_bits_over_32_per_layer() -> None:
    model = convolution_and_classifier()
    macs = dense_macs(model, (3, 8, 8))
    attach_weight_quantizers(model, ["0"], "uniform", {"bitwidth": 8})
    weight = torch.ones(10, 64)
    weight[:, :16] = 0.0
    weight[0] = 0.0
    set_weight(model[2], weight)
    found = measure_compression(model, macs, FedChannels((3, 8, 8)))
    zeros = 10 * 16 + 48
    expected = (macs["0"] * 32 + macs["2"] * (1 - zeros / 640) * 8) / (32 * (macs["0"] + macs["2"]))
    assert found.rel_bops == pytest.approx(expected)
    assert found.sparsity == pytest.approx(zeros / 640)
    assert found.structured_sparsity == pytest.approx(1 / 10)
    assert found.mean_bits == 8


def test_mean_bits_are_weighted_by_the_number_of_weights() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 30), nn.Linear(30, 10))
    attach_weight_quantizers(model, ["2"], "uniform", {"bitwidth": 2})
    attach_weight_quantizers(model, ["1"], "uniform", {"bitwidth": 8})
    found = measure_compression(model, {"1": 300, "2": 300}, FedChannels((1, 1, 10)))
    assert found.mean_bits == pytest.approx((2 * 300 + 8 * 300) / 600)


def test_layers_without_a_weight_left_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    attach_weight_quantizers(model, [], "uniform", {"bitwidth": 8})
    set_weight(model[1], torch.zeros(4, 4))
    assert measure_compression(model, {"0": 16, "1": 16}, FedChannels((1, 4, 4))).empty_layers == ("1",)


def test_quantized_norm_weights_count_for_sparsity_but_have_no_channels() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    attach_weight_quantizers(model, [], "uniform", {"bitwidth": 8})
    set_weight(model[1], torch.tensor([1.0, 0.0, 1.0, 1.0]))
    found = measure_compression(model, {"0": 16}, FedChannels((1, 4, 4)))
    assert found.sparsity == pytest.approx(1 / 20)
    assert found.structured_sparsity == 0.0


def empty_outputs(layer: nn.Module, *channels: int) -> None:
    with torch.no_grad():
        layer.weight[list(channels)] = 0.0


def unfed(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, list[int]]:
    """The input channels of each layer that nothing feeds, of layers that have some."""
    found = {name: (~fed).nonzero().flatten().tolist() for name, fed in fed_channels(model, shape).items()}
    return {name: channels for name, channels in found.items() if channels}


def test_in_a_chain_a_channel_without_weights_feeds_nothing_whatever_its_bias_and_norm_add() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(8, 5)
    )
    nn.init.ones_(model[1].bias)
    empty_outputs(model[0], 1, 3)
    empty_outputs(model[3], 0)
    assert unfed(model, (3, 2, 2)) == {"3": [1, 3], "5": [0, 1, 2, 3]}


def test_structured_bit_operations_leave_out_only_whole_channels() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 5))
    attach_weight_quantizers(model, ["1"], "uniform", {"bitwidth": 8})
    empty_outputs(model[1], 0, 1)
    weight = torch.ones(5, 10)
    weight[:, 2:] = 0.0
    weight[:, 9] = 1.0  # four fifths of the layer are zero, and only its first output channel as a whole
    weight[0] = 0.0
    set_weight(model[3], weight)
    found = measure_compression(model, {"1": 40, "3": 50}, FedChannels((1, 2, 2)))
    assert found.structured_bops == pytest.approx((40 * 0.8 * 32 + 50 * 0.8 * 0.8 * 8) / (32 * 90))
    assert found.rel_bops < found.structured_bops


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.first(x)
        return torch.as_tensor(self.last(out + self.second(out)))


def test_at_a_residual_sum_a_channel_is_unfed_only_where_every_summand_is() -> None:
    model = Residual()
    empty_outputs(model.first, 0, 1)
    empty_outputs(model.second, 1, 2)
    assert unfed(model, (3, 2, 2)) == {"second": [0, 1], "last": [1]}


def test_the_channels_that_a_shortcut_pads_are_fed_only_by_the_convolution() -> None:
    model = build_model("resnet20", in_channels=3, img_size=8, num_classes=10)
    assert unfed(model, (3, 8, 8)) == {}
    empty_outputs(model.layer2[0].conv2, 0, 8)  # 8 is the first that the shortcut passes on
    assert unfed(model, (3, 8, 8)) == {"layer2.1.conv1": [0]}


def test_in_groups_a_channel_is_fed_and_feeds_within_its_own() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4))
    empty_outputs(model[0], 0)
    empty_outputs(model[1], 0, 1)
    macs = dense_macs(model, (3, 4, 4))
    found = measure_compression(model, macs, FedChannels((3, 4, 4)))
    assert found.structured_bops == pytest.approx((macs["0"] * 3 / 4 + macs["1"] * 2 / 4) / sum(macs.values()))


def test_a_transformers_hidden_units_are_left_out_and_its_embedded_channels_are_fed() -> None:
    model = build_model("vit", in_channels=3, img_size=32, num_classes=10)
    assert unfed(model, (3, 32, 32)) == {}
    empty_outputs(model.patch_embed.proj, 5)
    empty_outputs(model.blocks[0].mlp.fc1, 7)
    empty_outputs(model.blocks[1].attn.qkv, 2 * 192 + 3)  # a channel of the values
    assert unfed(model, (3, 32, 32)) == {"blocks.0.mlp.fc2": [7], "blocks.1.attn.proj": [3]}


def test_counting_consumes_no_random_numbers() -> None:
    model = build_model("resnet20", in_channels=3, img_size=8, num_classes=10)
    before = torch.get_rng_state()
    measure_compression(model, dense_macs(model, (3, 8, 8)), FedChannels((3, 8, 8)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_memory_format_of_a_convolution_changes_nothing() -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", {}, in_channels=3, img_size=8, num_classes=10, pretrained=False)
    attach_weight_quantizers(model, ["bn"], "uniform", {})
    shape = (3, 8, 8)
    plain = measure_compression(model, dense_macs(model, shape), FedChannels(shape))
    model.to(memory_format=torch.channels_last)
    assert measure_compression(model, dense_macs(model, shape), FedChannels(shape)) == plain


def test_what_feeds_a_channel_is_found_again_when_other_channels_are_empty() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    macs, fed = {"0": 12, "1": 8}, FedChannels((1, 1, 3))
    assert measure_compression(model, macs, fed).structured_bops == 1.0
    with torch.no_grad():
        model[0].weight[:2] = 0.0
    for meter in (fed, FedChannels((1, 1, 3))):  # the one that remembers, and one that does not
        assert measure_compression(model, macs, meter).structured_bops == (6 + 4) / 20


def test_each_layer_has_its_share_of_the_bit_operations() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    attach_weight_quantizers(model, ["1"], "uniform", {"bitwidth": 8})
    with torch.no_grad():
        model[0].parametrizations.weight.original[0] = 0.0
    found = measure_compression(model, {"0": 12, "1": 8}, FedChannels((1, 1, 3)))
    first, second = found.layers
    assert first == Layer("0", 0.25, 8.0, 0.6, pytest.approx(0.6 * 0.75 / 4))
    assert second == Layer("1", 0.0, 32, 0.4, pytest.approx(0.4))
    assert sum(layer.bops for layer in found.layers) == pytest.approx(found.rel_bops)


def test_bits_need_not_be_whole_and_a_model_may_have_nothing_to_measure() -> None:
    class Ternary(UniformSymmetric):
        def get_bitwidth(self) -> torch.Tensor:
            return torch.tensor(1.5)

    model = nn.Sequential(nn.Linear(3, 4))
    attach_weight_quantizers(model, [], Ternary, {})
    assert measure_compression(model, {"0": 12}, FedChannels((1, 1, 3))).mean_bits == 1.5
    empty = measure_compression(nn.Sequential(nn.PReLU()), {}, FedChannels((1, 1, 3)))
    assert (empty.sparsity, empty.rel_bops, empty.mean_bits) == (0.0, 0.0, 32)
