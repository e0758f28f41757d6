"""The file `.env` in the current folder: environment variables such as WANDB_API_KEY."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path

_FILE = Path(".env")
_lines: dict[str, int] = {}
"""The lines of the variables that the file has set."""


def load_env_file() -> None:
    """Set the variables of `./.env` that the environment does not have.

    UTF-8 and UTF-16 are recognised, with and without a byte order mark; bytes of other encodings stay as they are, as
    in variables that a shell sets. A file that cannot be read, and a line that sets nothing, is reported in one line
    and otherwise ignored.
    """
    _lines.clear()
    if not _FILE.is_file():
        return
    import dotenv

    logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # it warns of bad lines without the file's name
    try:
        content = _FILE.read_bytes()
        encoding = json.detect_encoding(content)  # of a text whose first characters are ASCII, as those of a name are
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        text = content.decode(encoding, errors)
        if "\0" in text:  # such as UTF-16 that PowerShell's >> has appended to UTF-8
            line = text.count("\n", 0, text.index("\0")) + 1
            print(f"{_FILE}:{line}: ignored with all its variables: holds null characters; save it as UTF-8",
                  file=sys.stderr)  # fmt: skip
            return
        before = set(os.environ)
        _note_lines(text, before)
        dotenv.load_dotenv(stream=io.StringIO(text))
    except OSError as error:
        print(f"{_FILE}: ignored: {error.strerror or error}", file=sys.stderr)


def _note_lines(text: str, before: set[str]) -> None:
    """Note the lines of the variables that are not in the environment before, and report those that set nothing."""
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        line = binding.original.line + len(written[: len(written) - len(written.lstrip())].splitlines())
        if binding.error or (binding.key is not None and binding.value is None):
            print(f"{_FILE}:{line}: ignored: must be NAME=VALUE", file=sys.stderr)
        elif binding.key is not None and binding.key not in before:
            _lines[binding.key] = line


def where_set(name: str) -> str:
    """Where an environment variable was set: `.env:LINE`, or `environment`."""
    return f"{_FILE}:{_lines[name]}" if name in _lines else "environment"
