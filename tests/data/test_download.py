"""Getting files that are not there, once, or saying why not."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torchvision

from codeq.data import DataUnavailable, load_raw
from codeq.data.sources.download import Download

DOWNLOADED = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}


def locate(folder: Path) -> Path | None:
    path = folder / "set" / "images"
    return path if path.is_file() else None


def fetch(folder: str) -> None:
    (Path(folder) / "set").mkdir()
    (Path(folder) / "set" / "images").write_text("pixels")


@pytest.mark.parametrize("name", DOWNLOADED)
def test_without_network_and_files_the_message_says_what_to_do(
    name: str, tmp_path: Path, make_config: Callable[..., Any], no_network: None
) -> None:
    folder = tmp_path / "data"
    with pytest.raises(DataUnavailable) as caught:
        load_raw(make_config(dataset=name, data_dir=str(folder)))
    message = str(caught.value)
    assert f"{name} is not in {folder} and cannot be downloaded" in message and "no network" in message
    assert "put " in message and message.endswith("--set dataset=digits needs neither network nor files")
    assert "\n" not in message


@pytest.mark.parametrize("name", DOWNLOADED)
def test_torchvision_downloads_what_is_then_found(
    name: str,
    tmp_path: Path,
    make_config: Callable[..., Any],
    write_cifar: Callable[..., None],
    write_fashion: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def fake(root: str, download: bool) -> None:
        assert download
        calls.append(root)
        if name == "fashion_mnist":
            write_fashion(Path(root, "FashionMNIST", "raw"), gzipped=False)
        else:
            folder = "cifar-100-python" if name == "cifar100" else "cifar-10-batches-py"
            write_cifar(Path(root, folder), count=100, fine=name == "cifar100")

    monkeypatch.setattr(torchvision.datasets, DOWNLOADED[name], fake)
    config = make_config(dataset=name, data_dir=str(tmp_path / "new" / "data"))
    first, again = load_raw(config), load_raw(config)
    assert len(calls) == 1 and len(first.train.labels) == len(again.train.labels) > 0


def test_processes_that_come_together_download_once(tmp_path: Path) -> None:
    calls = []

    def slow(folder: str) -> None:
        calls.append(folder)
        time.sleep(0.2)
        fetch(folder)

    def start() -> None:
        found.append(Download("set", "the set", locate, slow).find_or_fetch(str(tmp_path)))

    found: list[Path] = []
    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and found == [tmp_path / "set" / "images"] * 3


def test_a_download_cut_short_leaves_nothing_that_looks_like_a_file(tmp_path: Path) -> None:
    def fails_half_way(folder: str) -> None:
        fetch(folder)
        raise ConnectionResetError("connection reset")

    with pytest.raises(DataUnavailable, match="connection reset"):
        Download("set", "the set", locate, fails_half_way).find_or_fetch(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] in ([], [".set.lock"])


def test_a_download_completes_a_folder_that_is_half_there(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes").write_text("mine")
    found = Download("set", "the set", locate, fetch).find_or_fetch(str(tmp_path))
    assert found.read_text() == "pixels" and (tmp_path / "set" / "notes").read_text() == "mine"


def test_a_download_that_brings_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="download was not complete"):
        Download("set", "the set", locate, lambda folder: None).find_or_fetch(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnavailable, match="set is not in .*file/data and cannot be downloaded"):
        Download("set", "the set", locate, fetch).find_or_fetch(str(tmp_path / "file" / "data"))


def test_sockets_have_their_old_time_limit_afterwards(tmp_path: Path) -> None:
    import socket

    limits = []
    watched = Download("set", "it", locate, lambda f: (limits.append(socket.getdefaulttimeout()), fetch(f)))
    watched.find_or_fetch(str(tmp_path))
    assert limits[0] is not None and socket.getdefaulttimeout() is None
