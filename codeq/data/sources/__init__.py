"""The built-in data sets, one module each, and the function that loads any data set by its name."""

from codeq.data.sources.fake_data import SHAPES, load_or_fake
from codeq.data.sources.imagefolder import DEFAULT_IMG_SIZE
from codeq.data.sources.load_raw import load_raw

__all__ = ["DEFAULT_IMG_SIZE", "SHAPES", "load_or_fake", "load_raw"]
