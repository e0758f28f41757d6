"""The data sets that ship, a module each, and what reads any data set by its name."""

from codeq.data.sources.fake_data import load_or_fake
from codeq.data.sources.load_raw import load_raw

__all__ = ["load_or_fake", "load_raw"]
