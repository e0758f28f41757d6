"""Builds networks by their registered names."""

from codeq.models.build import build_model
from codeq.models.timm_models import WeightsUnavailable, check_timm_name

__all__ = ["WeightsUnavailable", "build_model", "check_timm_name"]
