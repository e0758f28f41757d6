"""The data sets by name. A new one is a function under `@source("name")` in a module imported here."""

from codeq.data.sources import cifar, digits, fashion_mnist, imagefolder, synthetic  # noqa: F401
from codeq.data.sources.registry import load_raw, source_names
from codeq.data.sources.stand_in import load_or_make_up

__all__ = ["load_or_make_up", "load_raw", "source_names"]
