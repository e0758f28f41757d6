"""Check cluster files before `ray up`, without a network, or wait until all nodes have joined a Ray."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from codeq.config.arguments import ArgumentParser, as_text
from codeq.config.errors import BadInput, ConfigError
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
    wait = commands.add_parser("wait", help="return once N nodes have joined the Ray at ADDRESS")
    wait.add_argument("address", metavar="ADDRESS", help="HOST:PORT")
    wait.add_argument("nodes", type=int, metavar="N")
    options = parser.parse_args(arguments)
    if options.command == "wait":
        problems = _wait(options.address, options.nodes)
    else:
        problems = [problem for file in options.files for problem in _check(file)]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return BAD_INPUT if problems else DONE


def _wait(address: str, nodes: int) -> list[str]:
    from codeq.execution.cluster.start import wait_for_nodes

    try:
        wait_for_nodes(address, nodes)
    except BadInput as error:
        return [str(error)]
    return []


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
