import logging

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from codeq.quant import (
    DeadZoneLDZCompander,
    FakeQuantParametrization,
    UniformSymmetric,
    attach_weight_quantizers,
    quantized_layers,
    toggle_quantization,
)
from codeq.registry import QUANTIZERS

every_quantizer = pytest.mark.parametrize("name", QUANTIZERS.names())


class Net(nn.Module):
    """Convolution, two batch norms (one without a weight) and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.bn2 = nn.BatchNorm2d(4, affine=False)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.bn2(self.bn1(self.conv1(x))).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def names(model):
    return [name for name, _, _ in quantized_layers(model)]


def test_every_layer_with_a_weight_is_quantized_and_logged(net, caplog):
    with caplog.at_level(logging.INFO, logger="codeq.quant.attach"):
        attach_weight_quantizers(net, [], "deadzone", {})
    assert names(net) == ["conv1", "bn1", "fc"]
    assert caplog.messages == [f"Attached weight quantizer to layer: {name}" for name in ("conv1", "bn1", "fc")]


def test_a_layer_whose_name_contains_an_excluded_part_is_left_alone(net):
    attach_weight_quantizers(net, ["bn", "onv"], "deadzone", {})
    assert names(net) == ["fc"]


@every_quantizer
def test_norms_are_left_alone_by_their_type_and_the_log_says_so(net, caplog, name):
    net.other_name = nn.LayerNorm(4)
    with caplog.at_level(logging.INFO, logger="codeq.quant.attach"):
        attach_weight_quantizers(net, [], name, {}, quantize_norms=False)
    assert names(net) == ["conv1", "fc"]
    assert caplog.messages[0] == "No weight quantizer for 2 norm layers; quantizer.quantize_norms: true attaches them"


def test_the_log_does_not_mention_norms_that_are_excluded_by_name(net, caplog):
    with caplog.at_level(logging.INFO, logger="codeq.quant.attach"):
        attach_weight_quantizers(net, ["bn"], "deadzone", {}, quantize_norms=False)
    assert caplog.messages == [f"Attached weight quantizer to layer: {name}" for name in ("conv1", "fc")]


@every_quantizer
def test_the_layer_computes_with_the_quantized_weight(net, images, name):
    plain = net(images)
    attach_weight_quantizers(net, [], name, {})
    for _, module, quantizer in quantized_layers(net):
        assert torch.equal(module.weight, quantizer(module.parametrizations.weight.original))
    assert not torch.equal(net(images), plain)


def test_the_state_dict_has_the_documented_keys(net):
    attach_weight_quantizers(net, ["bn"], "deadzone", {})
    buffers = ("fixed_bit", "max_bits", "min_bits", "learnable_bit", "learnable_deadzone")
    prefix = "fc.parametrizations.weight"
    assert {key for key in net.state_dict() if key.startswith("fc.")} == {
        "fc.bias",
        f"{prefix}.original",
        *(f"{prefix}.0.quantizer.{x}" for x in ("logit_dz", "logit_bit", *buffers)),
    }


def test_a_state_dict_loads_into_another_model_with_quantizers(net, images):
    other = Net()
    for model in (net, other):
        attach_weight_quantizers(model, [], "deadzone", {"init_deadzone_logit": 0.5})
    other.load_state_dict(net.state_dict())
    assert torch.equal(net.eval()(images), other.eval()(images))


def test_each_layer_has_a_quantizer_of_its_own_built_with_the_keywords(net):
    attach_weight_quantizers(net, [], "deadzone", {"max_bits": 5})
    quantizers = [quantizer for _, _, quantizer in quantized_layers(net)]
    assert len({id(q.logit_dz) for q in quantizers}) == 3
    assert {q.get_bitwidth().item() for q in quantizers} == {5}


def test_a_class_serves_as_well_as_a_name(net):
    attach_weight_quantizers(net, [], UniformSymmetric, {"bitwidth": 3})
    assert {type(quantizer) for _, _, quantizer in quantized_layers(net)} == {UniformSymmetric}


def test_the_latent_weight_is_the_parameter_the_optimizer_already_holds(net):
    before = net.fc.weight
    attach_weight_quantizers(net, [], "deadzone", {})
    assert net.fc.parametrizations.weight.original is before


def test_gradients_reach_the_latent_weight_and_the_logits(net, images):
    attach_weight_quantizers(net, [], "deadzone", {"init_deadzone_logit": 0.5, "init_bit_logit": 0.5})
    net(images).pow(2).sum().backward()
    for _, module, quantizer in quantized_layers(net):
        for parameter in (module.parametrizations.weight.original, quantizer.logit_dz, quantizer.logit_bit):
            assert parameter.grad is not None and parameter.grad.isfinite().all()
    assert net.fc.parametrizations.weight[0].quantizer.logit_dz.grad != 0


def test_assigning_a_weight_sets_the_latent_weight(net):
    attach_weight_quantizers(net, [], "deadzone", {"init_deadzone_logit": 0.5})
    new = torch.randn(5, 4)
    net.fc.weight = new
    assert torch.equal(net.fc.parametrizations.weight.original, new)
    assert not torch.equal(net.fc.weight, new)


def test_attaching_twice_is_an_error_that_names_the_layers_and_changes_nothing(net):
    attach_weight_quantizers(net, ["fc"], "deadzone", {})
    with pytest.raises(ValueError, match="attach quantizers once: conv1, bn1"):
        attach_weight_quantizers(net, [], "uniform", {})
    assert names(net) == ["conv1", "bn1"]
    assert not parametrize.is_parametrized(net.fc)


def test_attaching_to_the_rest_of_a_model_later_is_fine(net):
    attach_weight_quantizers(net, ["fc"], "deadzone", {})
    attach_weight_quantizers(net, ["conv", "bn"], "uniform", {})
    assert names(net) == ["conv1", "bn1", "fc"]


def test_an_unknown_quantizer_attaches_nothing(net):
    with pytest.raises(ValueError, match="did you mean uniform?"):
        attach_weight_quantizers(net, [], "unifrom", {})
    assert names(net) == []


def test_a_shared_weight_is_left_alone_and_stays_shared(caplog):
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "mid": nn.Linear(4, 4), "head": nn.Linear(4, 5)})
    model["head"].weight = model["embed"].weight
    with caplog.at_level(logging.INFO, logger="codeq.quant.attach"):
        attach_weight_quantizers(model, [], "deadzone", {})
    assert names(model) == ["mid"]
    assert model["head"].weight is model["embed"].weight
    assert "No weight quantizer for layer, its weight is shared: head" in caplog.messages


def test_a_module_used_twice_gets_one_quantizer():
    block = nn.Linear(4, 4)
    model = nn.Sequential(block, nn.ReLU(), block)
    attach_weight_quantizers(model, [], "deadzone", {})
    assert len(block.parametrizations.weight) == 1


def test_toggling_computes_with_the_latent_weight_and_back(net, images):
    net.eval()
    plain = net(images)
    attach_weight_quantizers(net, [], "deadzone", {"init_deadzone_logit": 0.5})
    quantized = net(images)
    toggle_quantization(net, False)
    assert torch.equal(net(images), plain)
    toggle_quantization(net, True)
    assert torch.equal(net(images), quantized) and not torch.equal(quantized, plain)


def test_quantizers_can_be_attached_switched_off(net, images):
    net.eval()
    plain = net(images)
    attach_weight_quantizers(net, [], "deadzone", {}, enabled=False)
    assert torch.equal(net(images), plain)
    assert names(net) == ["conv1", "bn1", "fc"]


def test_another_parametrization_is_not_taken_for_a_quantizer(net):
    parametrize.register_parametrization(net.fc, "weight", nn.Identity())
    attach_weight_quantizers(net, ["fc"], "deadzone", {})
    assert names(net) == ["conv1", "bn1"]


def test_functional_call_replaces_latent_weight_and_logit(net, images):
    attach_weight_quantizers(net.eval(), ["bn"], "deadzone", {})
    original, logit = "fc.parametrizations.weight.original", "fc.parametrizations.weight.0.quantizer.logit_dz"
    replaced = functional_call(net, {original: torch.ones(5, 4), logit: torch.tensor(0.5)}, (images,))
    with torch.no_grad():
        net.get_parameter(original).fill_(1)
        net.get_parameter(logit).fill_(0.5)
    assert torch.equal(replaced, net(images))


def test_a_cached_step_quantizes_once(net, monkeypatch):
    calls = []
    forward = DeadZoneLDZCompander.forward
    monkeypatch.setattr(DeadZoneLDZCompander, "forward", lambda self, w: calls.append(1) or forward(self, w))
    attach_weight_quantizers(net, ["bn", "conv"], "deadzone", {})
    calls.clear()
    with parametrize.cached():
        assert net.fc.weight is net.fc.weight
    assert len(calls) == 1


def test_the_parametrization_passes_the_weight_through_while_disabled():
    w = torch.randn(3, 3)
    fake_quant = FakeQuantParametrization(UniformSymmetric(2), enabled=False)
    assert fake_quant(w) is w
    assert fake_quant.right_inverse(w) is w


def test_a_quantizer_is_put_on_the_device_of_its_layer():
    layer = nn.Linear(4, 5, device="meta")
    attach_weight_quantizers(layer, [], "deadzone", {}, enabled=False)
    assert all(tensor.is_meta for tensor in layer.state_dict().values())
