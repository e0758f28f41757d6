"""Image files with a folder per class: DATA_DIR/CLASS/*.jpg, or DATA_DIR/train/CLASS/*.jpg and also test (or val)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

from codeq.config.text import join_and, one_line, pluralize
from codeq.data.decode import open_rgb
from codeq.data.errors import EMBEDDED_HINT, DataDamaged, DataUnavailable
from codeq.data.limits import fits_in_memory
from codeq.data.raw import FileSet, ImageSet, RawImages
from codeq.data.split import stratified_split
from codeq.data.stores import decode_all

logger = logging.getLogger(__name__)

DEFAULT_IMG_SIZE = 224
TEST_FRACTION = 0.2
TEST_SPLIT_SEED = 224


def imagefolder(data_dir: str, img_size: int | None, workers: int, skip_damaged: bool = False) -> RawImages:
    """Classes are the subfolders of `train` or, if there is no `train`, of the folder itself, by name; an image set
    that fits in memory is decoded once.

    The test set is `test`, else `val`, else a fixed stratified fifth of the images; the log says which, and what is
    ignored: hidden files and folders, and files of other types. Subfolders of a class and links are followed.
    skip_damaged: read every image once and leave out those that cannot be decoded. Raises DataUnavailable if a folder
    is missing or empty, or if the two folders differ in their classes.
    """
    root, size = Path(data_dir), img_size or DEFAULT_IMG_SIZE
    train, classes = _scan(_training_folder(root), size)
    train, test = _with_test(root, train, classes)
    if skip_damaged:
        train, test = (_without_damaged(files, max(1, workers)) for files in (train, test))
    sets = (_decoded_if_small(files, workers) for files in (train, test))
    return RawImages("imagefolder", len(classes), *sets)


def _training_folder(root: Path) -> Path:
    """`root` itself if its subfolders are the classes, else its subfolder `train`."""
    names = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set[str]()
    return root if names and not names & {"train", "test", "val"} else root / "train"


def _scan(folder: Path, size: int) -> tuple[FileSet, list[str]]:
    """Return the image files below `folder` and the names of its classes, both in order of name.

    A dot begins the names of copies that macOS and Jupyter make: what is hidden is left out.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    paths, labels, ignored = list[str](), list[int](), Counter[str]()
    try:
        classes = sorted(found.name for found in os.scandir(folder) if found.is_dir() and found.name[0] != ".")
        if not classes:
            raise FileNotFoundError(f"there is no class folder in {folder}")
        for label, name in enumerate(classes):
            before = len(paths)
            for path in _files(folder / name):
                suffix = path.suffix.lower()
                if any(part.startswith(".") for part in path.relative_to(folder).parts):
                    ignored["hidden"] += 1
                elif suffix not in IMG_EXTENSIONS:
                    ignored[suffix or "no suffix"] += 1
                else:
                    paths.append(str(path))
            if len(paths) == before:
                suffixes = ", ".join(IMG_EXTENSIONS)
                raise FileNotFoundError(f"there is no image in {folder / name}; images end in {suffixes}")
            labels += [label] * (len(paths) - before)
    except OSError as error:
        raise DataUnavailable(
            f"imagefolder cannot read {folder} ({one_line(error)}): put images into {folder}/CLASS/, "
            f"one folder a class; {EMBEDDED_HINT}"
        ) from error
    if ignored:
        kinds = join_and(f"{n:,} {kind}" for kind, n in sorted(ignored.items(), key=lambda item: (-item[1], item[0])))
        logger.warning("%s: %s ignored: %s; images end in %s", folder, pluralize(ignored.total(), "file"), kinds,
                       ", ".join(IMG_EXTENSIONS))  # fmt: skip
    return FileSet(tuple(paths), np.array(labels, dtype=np.int64), size), classes


def _files(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, each folder once: a link may lead to a folder that holds it. Raises OSError."""
    seen, found = set[str](), list[tuple[str, list[str]]]()
    for root, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found.append((root, names))
    for root, names in sorted(found):
        yield from (Path(root, name) for name in sorted(names))


def _raise(error: OSError) -> NoReturn:
    raise error


def _with_test(root: Path, train: FileSet, classes: list[str]) -> tuple[FileSet, FileSet]:
    """Return the training and the test files."""
    folders = [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not folders:
        logger.info("%s has no folder test or val: a fixed fifth of its images is the test set", root)
        single = [classes[label] for label in np.flatnonzero(np.bincount(train.labels) == 1)]
        if single:
            logger.warning("%s: only one image of %s, so none is in the test set", root, join_and(single))
        kept, held = stratified_split(train.labels, TEST_FRACTION, seed=TEST_SPLIT_SEED)
        return train.subset(kept), train.subset(held)
    logger.info("%s is the test set; validation images are taken from train", folders[0])
    test, test_classes = _scan(folders[0], train.img_size)
    if test_classes != classes:
        differing = ", ".join(sorted(set(test_classes) ^ set(classes)))
        raise DataUnavailable(f"{folders[0]} and {root / 'train'} differ in their classes: {differing}")
    return train, test


def _without_damaged(files: FileSet, workers: int) -> FileSet:
    """Decode every file and leave out those that cannot be; the log names the first. Raises DataUnavailable if a class
    has no image left."""
    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes outside the interpreter's lock
        problems = list(pool.map(_problem, files.paths))
    damaged = [problem for problem in problems if problem]
    if not damaged:
        return files
    logger.warning("%s left out, the first is %s", pluralize(len(damaged), "damaged image"), damaged[0])
    intact = files.subset(np.flatnonzero([problem is None for problem in problems]))
    if set(files.labels) != set(intact.labels):
        raise DataUnavailable(f"a class has only damaged images, the first is {damaged[0]}")
    return intact


def _problem(path: str) -> str | None:
    try:
        open_rgb(path)
    except DataDamaged as error:
        return str(error)
    return None


def _decoded_if_small(files: FileSet, workers: int) -> ImageSet:
    small = fits_in_memory(len(files.paths), files.channels, files.img_size)
    return decode_all(files, workers) if small else files
