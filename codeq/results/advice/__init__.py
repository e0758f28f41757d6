"""What a good experimenter would say after a sweep, as far as its trials support it."""

from codeq.results.advice.advice import Advice, advise
from codeq.results.advice.text import write_advice

__all__ = ["Advice", "advise", "write_advice"]
