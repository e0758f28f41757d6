"""Folders of image files: decoded once when small, streamed when large."""

import errno
import logging
import multiprocessing as mp
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from codeq.config.run import RunConfig
from codeq.data import DataDamaged, DataUnavailable, FileSet, PixelSet, limits, load_data, load_raw
from codeq.data.decode import decode

WriteImages = Callable[..., None]
CLASSES = ("ant", "bee", "cow")


@pytest.fixture
def folder(tmp_path: Path, write_images: WriteImages) -> Path:
    write_images(tmp_path / "train", CLASSES, 8)
    write_images(tmp_path / "test", CLASSES, 3)
    return tmp_path


@pytest.fixture
def config_for(make_config: Callable[..., Any]) -> Callable[..., Any]:
    def make(folder: Path, **keys: Any) -> Any:
        defaults = {"img_size": 12, "batch_size": 4, "val_fraction": 0.25, "augment": "none"}
        return make_config(dataset="imagefolder", data_dir=str(folder), **{**defaults, **keys})

    return make


def epochs(config: Any, device: torch.device, epoch: int = 0) -> list[tuple[Tensor, Tensor]]:
    data = load_data(config, device)
    return [batch for split in (data.train, data.val, data.test) for batch in split.epoch(epoch)]


def test_classes_are_numbered_by_name(folder: Path, config_for: Callable[..., Any]) -> None:
    raw = load_raw(config_for(folder))
    assert raw.num_classes == 3
    assert raw.train.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_the_folder_itself_may_hold_the_classes(
    folder: Path, tmp_path: Path, write_images: WriteImages, config_for: Callable[..., Any]
) -> None:
    plain = tmp_path / "plain"
    write_images(plain, CLASSES, 10)
    raw = load_raw(config_for(plain))
    assert raw.num_classes == 3
    assert np.bincount(raw.train.labels).tolist() == [8] * 3
    assert np.bincount(raw.test.labels).tolist() == [2] * 3


def test_decoding_resizes_the_shorter_side_and_cuts_the_middle(tmp_path: Path) -> None:
    # Three vertical bands of 16x16; the middle one is what stays.
    bands = np.zeros((16, 48, 3), dtype=np.uint8)
    bands[:, 16:32] = (10, 20, 30)
    Image.fromarray(bands).save(tmp_path / "bands.png")
    out = decode(str(tmp_path / "bands.png"), 16)
    assert out.shape == (3, 16, 16) and out.dtype == np.uint8
    assert (out == np.array([10, 20, 30]).reshape(3, 1, 1)).all()
    assert (
        decode(str(tmp_path / "bands.png"), 8)[:, :, 2:6] == np.array([10, 20, 30]).reshape(3, 1, 1)
    ).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_colour_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new(mode, (10, 10)).save(path)
    assert decode(str(path), 8).shape == (3, 8, 8)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("augment", ["none", "standard"])
def test_a_set_too_large_for_memory_streams_the_same_batches(
    folder: Path,
    augment: str,
    workers: int,
    cpu: torch.device,
    config_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_for(folder, augment=augment, workers=workers)
    assert isinstance(load_raw(config).train, PixelSet)
    resident = epochs(config, cpu)
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    assert isinstance(load_raw(config).train, FileSet)
    streamed = epochs(config, cpu)
    assert len(resident) == len(streamed) > 0
    for (x, y), (other_x, other_y) in zip(resident, streamed, strict=True):
        assert torch.equal(x, other_x) and torch.equal(y, other_y)


def test_streaming_epochs_are_repeatable_and_differ(
    folder: Path, cpu: torch.device, config_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    train = load_data(config_for(folder, augment="standard", workers=1), cpu).train
    state = torch.get_rng_state()
    next(train.epoch(0))  # An epoch left half way must not disturb the next one.
    first, other, again = (torch.cat([x for x, _ in train.epoch(e)]) for e in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_more_processes_decode_than_there_are_cores(
    folder: Path, config_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    started: list[object] = []
    start = mp.process.BaseProcess.start
    monkeypatch.setattr(mp.process.BaseProcess, "start", lambda self: (started.append(self), start(self)))
    load_raw(config_for(folder, workers=64))
    assert len(started) == 2 and not recwarn.list  # one for each folder, train and test


def test_streamed_epochs_cannot_be_mixed_up(
    folder: Path, cpu: torch.device, config_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    data = load_data(config_for(folder), cpu)
    first, second = data.train.epoch(0), data.val.epoch(0)
    next(first), next(second)
    with pytest.raises(RuntimeError, match="cannot be read at the same time"):
        next(first)


def test_val_is_the_test_folder_where_there_is_no_other(
    tmp_path: Path, config_for: Callable[..., Any], write_images: WriteImages
) -> None:
    write_images(tmp_path / "train", CLASSES, 4)
    write_images(tmp_path / "val", CLASSES, 2)
    raw = load_raw(config_for(tmp_path))
    assert (len(raw.train.labels), len(raw.test.labels)) == (12, 6)


def test_without_a_test_folder_a_stratified_fifth_is_held_out_and_logged(
    tmp_path: Path,
    config_for: Callable[..., Any],
    write_images: WriteImages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_images(tmp_path / "train", CLASSES, 10)
    with caplog.at_level(logging.INFO):
        raw = load_raw(config_for(tmp_path))
    assert np.bincount(raw.test.labels).tolist() == [2, 2, 2]
    assert "a fixed fifth of its images is the test set" in caplog.text


def test_the_size_is_224_when_none_is_asked_for(folder: Path, config_for: Callable[..., Any]) -> None:
    raw = load_raw(config_for(folder, img_size=None))
    assert isinstance(raw.train, PixelSet) and raw.train.pixels.shape[1:] == (3, 224, 224)


@pytest.mark.parametrize("limit", [1 << 30, 100], ids=["resident", "streamed"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_line(
    folder: Path,
    workers: int,
    limit: int,
    cpu: torch.device,
    config_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RESIDENT_BYTES", limit)
    path = folder / "train" / "bee" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataDamaged, match=r"bee/3\.png: not a readable image") as caught:
        epochs(config_for(folder, workers=workers), cpu)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path, config_for: Callable[..., Any]) -> None:
    with pytest.raises(
        DataUnavailable, match="imagefolder cannot read .*train.*digits needs neither"
    ) as caught:
        load_raw(config_for(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_class_without_images_is_named(folder: Path, config_for: Callable[..., Any]) -> None:
    (folder / "train" / "dog").mkdir()
    with pytest.raises(DataUnavailable, match="dog") as caught:
        load_raw(config_for(folder))
    assert "\n" not in str(caught.value)


def test_classes_that_differ_between_the_folders_are_named(
    folder: Path, config_for: Callable[..., Any], write_images: WriteImages
) -> None:
    write_images(folder / "test", ("elk",), 1)
    with pytest.raises(DataUnavailable, match="differ in their classes: elk"):
        load_raw(config_for(folder))


# Folders as people have them


def test_hidden_files_and_other_types_are_counted_and_ignored(
    folder: Path, write_images: WriteImages, config_for: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = load_raw(config_for(folder))
    write_images(folder / "train" / ".ipynb_checkpoints", ("ant",), 2)
    write_images(folder / "train" / "ant", (".ipynb_checkpoints",), 3)
    (folder / "train" / "bee" / "._0.png").write_bytes(b"macOS")
    (folder / "train" / "bee" / "notes.txt").write_text("no image")
    for name in ("a.gif", "b.GIF", "c.jfif", "README"):
        (folder / "train" / "cow" / name).write_bytes(b"")
    caplog.clear()
    raw = load_raw(config_for(folder))
    assert raw.num_classes == 3
    assert np.array_equal(raw.train.pixels, before.train.pixels)
    (said,) = [message for message in caplog.messages if "ignored" in message]
    assert "train: 9 files ignored: 4 hidden, 2 .gif, 1 .jfif, 1 .txt and 1 no suffix; images end in .jpg" in said


def test_links_and_nested_folders_are_followed(
    folder: Path, tmp_path: Path, write_images: WriteImages, config_for: Callable[..., Any]
) -> None:
    write_images(folder / "train" / "ant", ("deep",), 2)
    write_images(tmp_path / "elsewhere", ("bees",), 3)
    (folder / "train" / "bee" / "link").symlink_to(tmp_path / "elsewhere" / "bees")
    assert np.bincount(load_raw(config_for(folder)).train.labels).tolist() == [10, 11, 8]


def test_links_that_lead_back_repeat_no_image(folder: Path, config_for: Callable[..., Any]) -> None:
    """Two such links would be followed in 2**40 ways."""
    for name in ("self", "again"):
        (folder / "train" / "ant" / name).symlink_to(folder / "train" / "ant")
    (folder / "train" / "bee" / "up").symlink_to(folder / "train" / "bee")
    assert np.bincount(load_raw(config_for(folder)).train.labels).tolist() == [8, 8, 8]


def test_a_folder_that_cannot_be_read_is_named(
    folder: Path, config_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, scan = folder / "train" / "ant" / "locked", os.scandir
    locked.mkdir()

    def scandir(path: str) -> Any:
        if Path(path) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataUnavailable, match="Permission denied.*ant/locked"):
        load_raw(config_for(folder))


def test_a_class_of_one_image_is_trained_and_named(
    tmp_path: Path, write_images: WriteImages, config_for: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, ("ant", "bee"), 10)
    write_images(tmp_path, ("cow",), 1)
    raw = load_raw(config_for(tmp_path))
    assert np.bincount(raw.train.labels).tolist() == [8, 8, 1]
    assert np.bincount(raw.test.labels, minlength=3).tolist() == [2, 2, 0]
    assert "only one image of cow, so none is in the test set" in caplog.text


@pytest.mark.parametrize("name", ["grey16.png", "grey16.tif"])
def test_sixteen_bits_keep_their_contrast(tmp_path: Path, name: str) -> None:
    wide = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    Image.fromarray(wide.astype(np.uint16)).save(tmp_path / name)
    Image.fromarray((wide // 257).astype(np.uint8)).save(tmp_path / "grey8.png")
    assert np.array_equal(decode(str(tmp_path / name), 64), decode(str(tmp_path / "grey8.png"), 64))


def test_numbers_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((8, 8), 70000, dtype=np.int32)).save(tmp_path / "wide.tif")
    for name, mode in (("float.tif", "F"), ("wide.tif", "I")):
        with pytest.raises(DataDamaged, match=f"{name}: not a readable image .*mode {mode} have no range"):
            decode(str(tmp_path / name), 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(decode(str(tmp_path / "turned.png"), 8)[0], upright)


@pytest.mark.filterwarnings("error")
def test_a_damaged_image_is_named_without_a_warning_of_the_libraries(tmp_path: Path) -> None:
    """Pillow warns of a TIFF that is cut short."""
    path = tmp_path / "1.tiff"
    Image.new("RGB", (64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:5000] + bytes(20))
    with pytest.raises(DataDamaged, match=r"1\.tiff: not a readable image"):
        decode(str(path), 12)


@pytest.mark.parametrize("limit", [1 << 30, 100], ids=["resident", "streamed"])
def test_damaged_images_can_be_left_out(
    folder: Path, limit: int, cpu: torch.device, config_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(limits, "RESIDENT_BYTES", limit)
    for path in (folder / "train" / "bee" / "3.png", folder / "train" / "bee" / "5.png"):
        path.write_bytes(path.read_bytes()[:200])
    config = config_for(folder).as_dict() | {"dataset": {"name": "imagefolder", "kwargs": {"skip_damaged": True}}}
    config = RunConfig.model_validate(config)
    assert np.bincount(load_raw(config).train.labels).tolist() == [8, 6, 8]
    assert "2 damaged images left out, the first is" in caplog.text and "bee/3.png" in caplog.text
    assert sum(len(labels) for _, labels in epochs(config, cpu)) == 22 + 9


def test_a_class_that_has_only_damaged_images_is_refused(folder: Path, config_for: Callable[..., Any]) -> None:
    for path in (folder / "test" / "cow").iterdir():
        path.write_bytes(b"no image")
    config = config_for(folder).as_dict() | {"dataset": {"name": "imagefolder", "kwargs": {"skip_damaged": True}}}
    with pytest.raises(DataUnavailable, match=r"a class has only damaged images, the first is .*cow/0\.png"):
        load_raw(RunConfig.model_validate(config))
