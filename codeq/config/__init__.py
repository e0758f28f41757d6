"""The template: YAML that is at once a training config and a search space. Imports no torch and no Ray."""

from codeq.config.errors import ConfigError, Problem
from codeq.config.run import RunConfig
from codeq.config.sweep import SweepConfig
from codeq.config.template import Parameter, Template

__all__ = ["ConfigError", "Parameter", "Problem", "RunConfig", "SweepConfig", "Template"]
