"""The data sets that can be trained on: raw images by name, split, and as batches on the device."""

from codeq.data.batches import Batches
from codeq.data.errors import DataDamaged, DataUnavailable
from codeq.data.load import DatasetInfo, DataSplits, load_data
from codeq.data.raw import FileSet, PixelSet, RawImages
from codeq.data.sources import load_or_fake, load_raw

__all__ = [
    "Batches",
    "DataDamaged",
    "DataSplits",
    "DataUnavailable",
    "DatasetInfo",
    "FileSet",
    "PixelSet",
    "RawImages",
    "load_data",
    "load_or_fake",
    "load_raw",
]
