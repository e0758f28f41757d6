"""CIFAR's pickles, in a folder or in the published archive."""

import pickle
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq.data import DataDamaged, PixelSet, RawImages, load_raw

WriteCifar = Callable[..., None]


@pytest.fixture
def load(make_config: Callable[..., Any], no_network: None) -> Callable[..., RawImages]:
    return lambda folder, name="cifar10": load_raw(make_config(dataset=name, data_dir=str(folder)))


def pixels(raw: RawImages) -> np.ndarray[Any, Any]:
    assert isinstance(raw.train, PixelSet)
    return raw.train.pixels


def archive(source: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz") as tar:
        tar.add(source, arcname="cifar-10-batches-py")


@pytest.mark.parametrize("below", [".", "cifar-10-batches-py"], ids=["flat", "torchvision"])
def test_batch_files_are_used_where_they_are(
    tmp_path: Path,
    below: str,
    write_cifar: WriteCifar,
    load: Callable[..., RawImages],
    stays_as_it_was: Callable[[Path], AbstractContextManager[None]],
) -> None:
    write_cifar(tmp_path / below)
    with stays_as_it_was(tmp_path):
        raw = load(tmp_path)
    assert pixels(raw).shape == (100, 3, 32, 32) and len(raw.test.labels) == 20
    first = np.random.RandomState(0).randint(0, 256, (20, 3072), dtype=np.uint8)
    assert np.array_equal(pixels(raw)[:20], first.reshape(20, 3, 32, 32))
    assert raw.train.labels[:12].tolist() == [*range(10), 0, 1]


def test_the_published_archive_is_read_without_unpacking(
    tmp_path: Path,
    write_cifar: WriteCifar,
    load: Callable[..., RawImages],
    stays_as_it_was: Callable[[Path], AbstractContextManager[None]],
) -> None:
    write_cifar(tmp_path / "unpacked")
    (tmp_path / "data").mkdir()
    archive(tmp_path / "unpacked", tmp_path / "data" / "cifar-10-python.tar.gz")
    with stays_as_it_was(tmp_path / "data"):
        raw = load(tmp_path / "data")
    assert np.array_equal(pixels(raw), pixels(load(tmp_path / "unpacked")))


def test_cifar100_uses_the_fine_labels(
    tmp_path: Path, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    write_cifar(tmp_path / "cifar-100-python", count=200, fine=True)
    raw = load(tmp_path, "cifar100")
    assert raw.num_classes == 100 and raw.train.labels.max() == 99


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_batch_file_cut_short_is_named(
    tmp_path: Path, share: float, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataDamaged, match=r"data_batch_3: damaged or cut short") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_an_archive_cut_short_is_named(
    tmp_path: Path, share: float, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    write_cifar(tmp_path / "unpacked")
    path = tmp_path / "cifar-10-python.tar.gz"
    archive(tmp_path / "unpacked", path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataDamaged, match=r"cifar-10-python\.tar\.gz: damaged or cut short"):
        load(tmp_path)


def test_an_archive_without_a_batch_says_which(
    tmp_path: Path, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    write_cifar(tmp_path / "unpacked")
    (tmp_path / "unpacked" / "test_batch").unlink()
    archive(tmp_path / "unpacked", tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(DataDamaged, match="does not contain test_batch"):
        load(tmp_path)


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "it ran",)

    write_cifar(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Touch(), "labels": []}))
    with pytest.raises(DataDamaged, match="does not belong into a data file"):
        load(tmp_path)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("labels", "problem"), [([0, 1], "2 labels for 3 images"), ([0, 1, 10], r"outside 0\.\.9")]
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, labels: list[int], problem: str, write_cifar: WriteCifar, load: Callable[..., RawImages]
) -> None:
    write_cifar(tmp_path)
    batch = {"data": np.zeros((3, 3072), dtype=np.uint8), "labels": labels}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=4))
    with pytest.raises(DataDamaged, match=f"test_batch: .*{problem}"):
        load(tmp_path)
