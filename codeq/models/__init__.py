"""The networks that can be trained, by name."""

from codeq.models.build import build_model
from codeq.models.timm_models import WeightsUnavailable

__all__ = ["WeightsUnavailable", "build_model"]
