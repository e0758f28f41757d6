"""`python -m codeq.execution.cluster check FILE...`: check cluster files before `ray up`, without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from codeq.config.arguments import ArgumentParser, as_text
from codeq.config.errors import ConfigError
from codeq.config.exit_codes import BAD_INPUT, DONE
from codeq.config.paths import option_path
from codeq.config.streams import prepare_streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 good, 2 problems found)."""
    prepare_streams()
    parser = ArgumentParser(prog="python -m codeq.execution.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check cluster files and print every problem")
    check.add_argument("files", nargs="+", type=as_text, metavar="FILE")
    problems = [problem for file in parser.parse_args(arguments).files for problem in _check(file)]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return BAD_INPUT if problems else DONE


def _check(file: str) -> list[str]:
    from codeq.execution.cluster.check import cluster_file_problems  # Ray, which takes a second

    try:
        problems = cluster_file_problems(Path(option_path("FILE", file, local=True)))
        if problems:
            raise ConfigError(problems)
    except ConfigError as error:
        return str(error).splitlines()
    print(f"{file}: valid (Ray {version('ray')})")
    return []


if __name__ == "__main__":
    sys.exit(main())
