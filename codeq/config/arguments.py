"""The command line: its parser, and the values of options as plain data."""

from __future__ import annotations

import argparse
import os
import re
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, which would show an argument that Python could not decode as `\\udcc3\\udca9`."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        escaped = re.compile(r"(?:\\udc[89a-f][0-9a-f])+")
        super().error(escaped.sub(lambda match: as_text(match[0].encode().decode("unicode_escape")), message))


def as_text(argument: str) -> str:
    """An argument as text: what Python could not decode in the locale's encoding is read as UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:  # surrogates, which represent undecodable bytes
        return os.fsencode(argument).decode("utf-8", "surrogateescape")
    return argument


def as_number(argument: str) -> int | float | str:
    """An argument as the number that it is, or else as text."""
    for kind in (int, float):
        try:
            return kind(argument)
        except ValueError:
            continue
    return as_text(argument)
