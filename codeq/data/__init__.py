"""Data sets: raw images by name, splits, and batches on the device."""

from codeq.data.batches import Batches
from codeq.data.errors import DataDamaged, DataUnavailable
from codeq.data.load import DatasetInfo, DataSplits, dataset_info, load_data
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
    "dataset_info",
    "load_data",
    "load_or_fake",
    "load_raw",
]
