"""Weights quantized at once are those quantized layer by layer, and so are their gradients."""

import copy

import pytest
import torch
from torch import nn

from codeq.quant import (
    DeadZoneLDZCompander,
    UniformSymmetric,
    all_layers_quantized,
    attach_weight_quantizers,
    quantized_layers,
    toggle_quantization,
)
from codeq.registry import QUANTIZERS


class Net(nn.Module):
    """Layers of several shapes, the first convolution in another memory format than the second."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1).to(memory_format=torch.channels_last)
        self.second = nn.Conv2d(6, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.norm(self.second(self.first(x).relu())).relu().mean((2, 3)))


def net(quantizer="deadzone", **kwargs):
    torch.manual_seed(0)
    model = Net()
    attach_weight_quantizers(model, [], quantizer, kwargs)
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(8, 3, 6, 6)


def step(model, images):
    logits = model(images)
    logits.square().sum().backward()
    return logits, {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_equal(one, other):
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, slope in one[1].items():
        assert (slope is None) == (other[1][name] is None), name
        if slope is not None:
            torch.testing.assert_close(slope, other[1][name], rtol=1e-5, atol=1e-6)


def step_both_ways(model, images):
    alone = copy.deepcopy(model)
    with all_layers_quantized(model):
        together = step(model, images)
    assert_equal(together, step(alone, images))
    return together


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_a_step_is_the_same(name, images):
    _, slopes = step_both_ways(net(name), images)
    assert all(slope is not None for slope in slopes.values())


def test_a_quantizer_may_return_its_input_in_one_step_and_another_tensor_in_the_next(images):
    class FromSecondCall(UniformSymmetric):
        calls = 0

        def forward(self, w):
            self.calls += 1
            return super().forward(w) if self.calls > 1 else w

    model = Net()
    attach_weight_quantizers(model, [], FromSecondCall, {})
    names = [name for name, _ in model.named_parameters()]
    for _ in range(2):
        with all_layers_quantized(model):
            step(model, images)
    assert [name for name, _ in model.named_parameters()] == names


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("learnable_bit", [True, False])
def test_layers_that_learn_different_things_are_the_same_too(learnable_bit, dtype, images):
    model = net(learnable_bit=learnable_bit, init_deadzone_logit=0.4).to(dtype)
    parametrized = model.second.parametrizations.weight[0]
    parametrized.quantizer = DeadZoneLDZCompander(3, learnable_bit=not learnable_bit).to(dtype)
    model.fc.parametrizations.weight[0].quantizer.logit_dz.requires_grad_(False)
    _, slopes = step_both_ways(model, images.to(dtype))
    assert slopes["fc.parametrizations.weight.0.quantizer.logit_dz"] is None


def test_a_layer_that_nobody_reads_gets_no_gradient(images):
    model = net()
    model.spare = nn.Linear(3, 3)
    attach_weight_quantizers(model, ["first", "second", "norm", "fc"], "deadzone", {})
    with all_layers_quantized(model):
        _, slopes = step(model, images)
    weight = "spare.parametrizations.weight"
    assert {name for name, slope in slopes.items() if slope is None} == {f"{weight}.original", "spare.bias"}
    assert slopes[f"{weight}.0.quantizer.logit_dz"] == slopes[f"{weight}.0.quantizer.logit_bit"] == 0


def test_reading_a_weight_inside_quantizes_nothing(monkeypatch):
    model = net()
    expected = {name: module.weight.detach() for name, module, _ in quantized_layers(model)}
    with all_layers_quantized(model):
        monkeypatch.setattr(DeadZoneLDZCompander, "forward", None)
        for name, module, _ in quantized_layers(model):
            assert torch.equal(module.weight, expected[name])


def test_outside_a_weight_is_quantized_when_it_is_read():
    model = net()
    with pytest.raises(RuntimeError, match="stop"), all_layers_quantized(model):
        inside = model.fc.weight
        raise RuntimeError("stop")
    with torch.no_grad():
        model.fc.parametrizations.weight.original.mul_(2)
    assert not torch.equal(model.fc.weight, inside)
    with all_layers_quantized(model):
        torch.testing.assert_close(model.fc.weight, 2 * inside)


def test_a_disabled_quantizer_stays_out_of_it(images):
    model = net()
    toggle_quantization(model, False)
    model.fc.parametrizations.weight[0].enabled = True
    with all_layers_quantized(model):
        assert model.first.weight is model.first.parametrizations.weight.original
        assert model.fc.weight is not model.fc.parametrizations.weight.original
    step_both_ways(model, images)


class Doubled(nn.Module):
    def forward(self, w):
        return 2 * w


def test_a_quantizer_behind_another_parametrization_gets_what_that_makes(images):
    model = net()
    weight = model.fc.parametrizations.weight
    weight.insert(0, Doubled())
    step_both_ways(model, images)


def test_quantizers_of_several_classes_are_each_asked_for_their_own(images):
    model = net()
    model.fc.parametrizations.weight[0].quantizer = UniformSymmetric(4)
    step_both_ways(model, images)


def test_a_model_without_quantizers_is_left_alone(images):
    step_both_ways(Net(), images)
