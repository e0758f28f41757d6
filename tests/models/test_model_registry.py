"""Every registered model, and names that are none."""

import pytest
import torch

from codeq.models import build_model
from codeq.registry import MODELS

NAMES = [name for name in MODELS.names() if name != "timm/NAME"]
SHAPES = [(3, 32, 10), (1, 28, 10), (3, 32, 100)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_model_maps_images_to_one_logit_per_class(name: str, shape: tuple[int, int, int]) -> None:
    channels, size, classes = shape
    model = build_model(name, in_channels=channels, img_size=size, num_classes=classes).eval()
    assert model(torch.randn(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vit"])
def test_the_small_models_take_the_8x8_digits(name: str) -> None:
    model = build_model(name, in_channels=1, img_size=8, num_classes=10)
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("name", NAMES)
def test_the_torch_seed_decides_the_initial_weights(name: str) -> None:
    def first_weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_model(name, in_channels=3, img_size=32, num_classes=10)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(first_weights(0), first_weights(0))
    assert not torch.equal(first_weights(0), first_weights(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_new_model_is_in_training_mode(name: str) -> None:
    model = build_model(name, in_channels=3, img_size=32, num_classes=10)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_batch_norms_are_the_modules_that_a_config_excludes_as_bn(name: str) -> None:
    model = build_model(name, in_channels=3, img_size=32, num_classes=10)
    named_bn = {n for n, m in model.named_modules() if "bn" in n and hasattr(m, "weight")}
    assert named_bn == {n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}


def test_an_unknown_name_is_answered_with_the_choices_and_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown model 'resnet200', must be one of ") as caught:
        build_model("resnet200", in_channels=3, img_size=32, num_classes=10)
    message = str(caught.value)
    assert all(name in message for name in NAMES) and "timm/NAME" in message
    assert message.endswith("did you mean resnet20?") and "\n" not in message


@pytest.mark.parametrize("name", ["resnet20", "mlp"])
def test_pretrained_is_refused_where_nothing_was_published(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no published weights"):
        build_model(name, in_channels=3, img_size=32, num_classes=10, pretrained=True)
