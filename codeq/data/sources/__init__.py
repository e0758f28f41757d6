"""The data sets that ship, a module each, and what reads any data set by its name."""

from codeq.data.sources.load_raw import load_raw
from codeq.data.sources.stand_in import load_or_make_up

__all__ = ["load_or_make_up", "load_raw"]
