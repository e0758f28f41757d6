"""Advice after a sweep, as far as its trials support it statistically."""

from codeq.results.advice.advice import Advice, advise
from codeq.results.advice.text import write_advice

__all__ = ["Advice", "advise", "write_advice"]
