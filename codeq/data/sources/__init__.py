"""The data sets by name. A new one is a function under `@source("name")` in a module imported here."""

from codeq.data.sources import cifar, digits, fashion_mnist, imagefolder, synthetic  # noqa: F401
from codeq.data.sources.fake_data import load_or_fake
from codeq.data.sources.registry import load_raw, source_names

__all__ = ["load_or_fake", "load_raw", "source_names"]
