"""Atomic replacement of files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from codeq.storage.atomic_files import is_local, write_atomically


def test_the_file_and_its_folders_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, "text")
    write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_url_is_written_through_its_file_system() -> None:
    path = UPath("memory://bucket/folder/file.txt")
    assert not is_local(path)
    write_atomically(path, "text")
    assert path.read_text() == "text"


def test_no_bucket_is_made_for_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Store(MemoryFileSystem):
        protocol = "s3"

        def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
            made.append(path)

        makedirs = mkdir

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Store)
    path = UPath("s3://bucket/folder/file.txt")
    write_atomically(path, "text")
    assert path.read_text() == "text" and made == []


def test_a_plain_path_is_local(tmp_path: Path) -> None:
    assert is_local(UPath(tmp_path))
