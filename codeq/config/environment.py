"""The file `.env` in the current folder: environment variables such as WANDB_API_KEY."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path


def load_env_file() -> None:
    """Set the variables of `./.env` that the environment does not have.

    UTF-8 and UTF-16 are recognised, with and without a byte order mark; bytes of other encodings stay as they are, as
    in variables that a shell sets. A file that cannot be read is reported in one line and otherwise ignored.
    """
    path = Path(".env")
    if not path.is_file():
        return
    import dotenv

    try:
        content = path.read_bytes()
        encoding = json.detect_encoding(content)  # of a text whose first characters are ASCII, as those of a name are
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        dotenv.load_dotenv(stream=io.StringIO(content.decode(encoding, errors)))
    except (OSError, ValueError) as error:  # ValueError: a null character in a value
        print(f"{path}: ignored: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
