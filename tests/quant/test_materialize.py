import pytest
import torch
from torch import nn

from codeq.quant import attach_weight_quantizers, materialize, quantized_layers, toggle_quantization
from codeq.registry import QUANTIZERS


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_a_materialized_model_computes_exactly_the_same(model, images, name):
    attach_weight_quantizers(model, [], name, {})
    assert torch.equal(materialize(model)(images), model(images))


def test_a_materialized_model_is_plain(model):
    kinds, keys = [type(m) for m in model.modules()], list(model.state_dict())
    attach_weight_quantizers(model, [], "deadzone", {})
    plain = materialize(model)
    assert [type(m) for m in plain.modules()] == kinds
    assert sorted(plain.state_dict()) == sorted(keys)
    assert all(isinstance(plain[i].weight, nn.Parameter) for i in (0, 1, 4))


def test_the_materialized_weights_are_the_quantized_ones(model):
    attach_weight_quantizers(model, [], "deadzone", {"init_deadzone_logit": 0.5})
    plain = materialize(model)
    assert torch.equal(plain[4].weight, model[4].weight)
    assert (plain[4].weight == 0).any()


def test_the_model_itself_keeps_its_quantizers_and_its_memory(model, images):
    attach_weight_quantizers(model, [], "deadzone", {"init_deadzone_logit": 0.5})
    before = model(images)
    plain = materialize(model)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert len(list(quantized_layers(model))) == 3
    assert torch.equal(model(images), before)


def test_a_model_switched_off_materializes_its_latent_weights(model):
    attach_weight_quantizers(model, [], "deadzone", {"init_deadzone_logit": 0.5})
    toggle_quantization(model, False)
    assert torch.equal(materialize(model)[4].weight, model[4].parametrizations.weight.original)


def test_a_model_without_quantizers_is_copied(model, images):
    plain = materialize(model)
    assert plain is not model and torch.equal(plain(images), model(images))
