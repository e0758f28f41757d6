"""The networks that can be trained, by name."""

from codeq.models import mlp, resnet, vit  # noqa: F401  each adds its names to the registry
from codeq.models.registry import build_model, model_names
from codeq.models.spec import ModelSpec
from codeq.models.timm_models import WeightsUnavailable

__all__ = ["ModelSpec", "WeightsUnavailable", "build_model", "model_names"]
