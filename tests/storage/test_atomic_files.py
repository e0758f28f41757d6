"""Atomic replacement of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from codeq.storage import atomic_files
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


@pytest.mark.parametrize(("is_object_store", "made"), [(True, []), (False, ["/bucket/folder"])])
def test_no_bucket_is_made_for_a_misspelt_name(
    is_object_store: bool, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store has no folders; making one would make its bucket."""
    assert {"s3", "gs", "az"} < {*atomic_files.OBJECT_STORES}
    monkeypatch.setattr(atomic_files, "OBJECT_STORES", ("memory",) if is_object_store else ())
    found: list[str] = []
    monkeypatch.setattr(MemoryFileSystem, "makedirs", lambda _, path, **options: found.append(path))
    monkeypatch.setattr(MemoryFileSystem, "mkdir", lambda _, path, **options: found.append(path))
    path = UPath("memory://bucket/folder/other.txt")
    write_atomically(path, "text")
    assert path.read_text() == "text" and found == made


def test_a_plain_path_is_local(tmp_path: Path) -> None:
    assert is_local(UPath(tmp_path))
