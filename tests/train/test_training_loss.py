"""The loss that a step differentiates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codeq.models import build_model
from codeq.quant import DeadZoneLDZCompander, all_layers, attach_weight_quantizers, quantized_layers
from codeq.registry import LOSS_TERMS
from codeq.train.loss_terms import WeightedTerm, group_lasso
from codeq.train.training_loss import TrainingLoss, memory_format

TERMS = [WeightedTerm(LOSS_TERMS["group_lasso"], 0.1, {"lambda_linear": 0.5, "lambda_conv": 0.5})]


def network(name: str = "mlp") -> nn.Module:
    torch.manual_seed(0)
    model = build_model(name, in_channels=3, img_size=16, num_classes=10, pretrained=False)
    attach_weight_quantizers(model, [], "deadzone", {})
    return model


def batch(device: str = "cpu") -> tuple[Tensor, Tensor]:
    return torch.ones(4, 3, 16, 16, device=device), torch.zeros(4, dtype=torch.long, device=device)


def test_it_is_the_cross_entropy_with_the_added_terms() -> None:
    model = network()
    images, labels = batch()
    loss, logits = TrainingLoss(model, TERMS)(images, labels)
    torch.testing.assert_close(logits, model(images))
    torch.testing.assert_close(loss, F.cross_entropy(model(images), labels) + 0.1 * group_lasso(model, 0.5, 0.5))
    assert loss.requires_grad and not logits.requires_grad


def test_each_weight_is_quantized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("resnet20")
    quantized: Counter[int] = Counter()
    quantize = all_layers.quantize_layers

    def counting(quantizers: Any, weights: Any) -> Any:
        quantized.update(map(id, weights))
        return quantize(quantizers, weights)

    monkeypatch.setattr(all_layers, "quantize_layers", counting)
    monkeypatch.setattr(DeadZoneLDZCompander, "forward", None)
    TrainingLoss(model, TERMS)(*batch())
    latent = [module.parametrizations.weight.original for _, module, _ in quantized_layers(model)]
    assert len(latent) > 20 and quantized == Counter(map(id, latent))


def test_in_bf16_the_layers_round_and_all_else_stays_float32() -> None:
    model = network("resnet20")
    seen = []
    model.get_submodule("layer1.0.conv1").register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    loss, logits = TrainingLoss(model, TERMS, "bf16")(*batch())
    loss.backward()
    assert seen == [torch.bfloat16]
    assert loss.dtype == logits.dtype == torch.float32
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    exact, _ = TrainingLoss(model, TERMS)(*batch())
    assert loss.item() != exact.item() and loss.item() == pytest.approx(exact.item(), rel=0.02)


class HostTensors(TorchDispatchMode):
    """Collects the operators that read, copy or make a tensor of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        if any(x.device.type == "cpu" for x in tensors):
            self.operators.add(str(func))
        return out


@pytest.mark.parametrize("learnable_bit", [False, True])
@pytest.mark.parametrize("name", ["mlp", "resnet20", "vit"])
def test_on_another_device_the_host_neither_waits_nor_copies(name: str, learnable_bit: bool) -> None:
    """What CUDA graphs can record, and what keeps a GPU busy. The meta device refuses to be read."""
    torch.manual_seed(0)
    model = build_model(name, in_channels=3, img_size=16, num_classes=10, pretrained=False)
    attach_weight_quantizers(model, [], "deadzone", {"learnable_bit": learnable_bit})
    model.to("meta")
    with HostTensors() as host:
        TrainingLoss(model, TERMS)(*batch("meta"))[0].backward()
    assert host.operators == set()


def test_reading_the_device_is_noticed() -> None:
    x = torch.ones(2, device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        x.sum().item()
    with HostTensors() as host:
        x + torch.tensor([1.0, 2.0]).to("meta")
    assert host.operators


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 8, 3), torch.channels_last),
        (nn.Conv2d(8, 8, 1, stride=2), torch.channels_last),
        (nn.Conv2d(3, 8, 1), torch.channels_last),
        (nn.Conv2d(3, 8, 1, stride=2), torch.contiguous_format),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv3d(1, 1, 3)), torch.contiguous_format),
        (nn.Linear(4, 4), torch.contiguous_format),
    ],
    ids=["convolution", "strided", "1x1", "few channels", "3d", "linear"],
)
def test_convolutions_are_in_channels_last_where_that_is_possible_and_safe(
    layer: nn.Module, expected: torch.memory_format
) -> None:
    assert memory_format(layer) == expected
    assert memory_format(nn.Conv2d(3, 8, 1, stride=2, device="meta")) == torch.channels_last
    layer.to(memory_format=expected)
