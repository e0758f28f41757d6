"""Image files with a folder per class: DATA_DIR/CLASS/*.jpg, or DATA_DIR/train/CLASS/*.jpg and also test (or val)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from codeq.config.text import one_line
from codeq.data.errors import EMBEDDED_HINT, DataUnavailable
from codeq.data.limits import fits_in_memory
from codeq.data.raw import FileSet, ImageSet, RawImages
from codeq.data.split import stratified_split
from codeq.data.stores import decode_all

logger = logging.getLogger(__name__)

DEFAULT_IMG_SIZE = 224
TEST_FRACTION = 0.2
TEST_SPLIT_SEED = 224


def imagefolder(data_dir: str, img_size: int | None, workers: int) -> RawImages:
    """Classes are the subfolders of `train` or, if there is no `train`, of the folder itself, by name; an image set
    that fits in memory is decoded once.

    The test set is `test`, else `val`, else a fixed stratified fifth of the images; the log says which. Raises
    DataUnavailable if a folder is missing or empty, or if the two folders differ in their classes.
    """
    root, size = Path(data_dir), img_size or DEFAULT_IMG_SIZE
    train, classes = _scan(_training_folder(root), size)
    train, test = _with_test(root, train, classes)
    sets = (_decoded_if_small(files, workers) for files in (train, test))
    return RawImages("imagefolder", len(classes), *sets)


def _training_folder(root: Path) -> Path:
    """`root` itself if its subfolders are the classes, else its subfolder `train`."""
    names = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set[str]()
    return root if names and not names & {"train", "test", "val"} else root / "train"


def _scan(folder: Path, size: int) -> tuple[FileSet, list[str]]:
    """Return the image files below `folder` and the names of its classes, both in order of name."""
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(str(folder))
    except OSError as error:
        raise DataUnavailable(
            f"imagefolder cannot read {folder} ({one_line(error)}): put images into {folder}/CLASS/, "
            f"one folder a class; {EMBEDDED_HINT}"
        ) from error
    paths, labels = zip(*found.samples, strict=True)
    return FileSet(paths, np.array(labels, dtype=np.int64), size), found.classes


def _with_test(root: Path, train: FileSet, classes: list[str]) -> tuple[FileSet, FileSet]:
    """Return the training and the test files."""
    folders = [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not folders:
        logger.info("%s has no folder test or val: a fixed fifth of its images is the test set", root)
        kept, held = stratified_split(train.labels, TEST_FRACTION, seed=TEST_SPLIT_SEED)
        return train.subset(kept), train.subset(held)
    logger.info("%s is the test set; validation images are taken from train", folders[0])
    test, test_classes = _scan(folders[0], train.img_size)
    if test_classes != classes:
        differing = ", ".join(sorted(set(test_classes) ^ set(classes)))
        raise DataUnavailable(f"{folders[0]} and {root / 'train'} differ in their classes: {differing}")
    return train, test


def _decoded_if_small(files: FileSet, workers: int) -> ImageSet:
    small = fits_in_memory(len(files.paths), files.channels, files.img_size)
    return decode_all(files, workers) if small else files
