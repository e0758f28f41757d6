"""`python -m codeq.config schema` prints the template's JSON Schema; `check FILE...` checks templates."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from codeq.config.environment import load_env_file
from codeq.config.errors import ConfigError
from codeq.config.json_schema import schema_text
from codeq.config.paths import option_path
from codeq.config.streams import prepare_streams
from codeq.config.template import Template
from codeq.plugins import add_plugin_option, load_plugins


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 good, 2 problems found)."""
    parser = argparse.ArgumentParser(prog="python -m codeq.config", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("schema", help="print the JSON Schema of a template")
    check = commands.add_parser("check", help="check template files and print every problem")
    check.add_argument("files", nargs="+", metavar="FILE")
    add_plugin_option(check)
    prepare_streams()
    options = parser.parse_args(arguments)
    if options.command == "schema":
        sys.stdout.write(schema_text())
        return 0
    load_env_file()
    try:
        load_plugins(options.plugin)
        problems = [problem for file in options.files for problem in _problems(file)]
    except ConfigError as error:
        problems = [str(error)]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 2 if problems else 0


def _problems(file: str) -> list[str]:
    try:
        Template.load(option_path("FILE", file))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


if __name__ == "__main__":
    sys.exit(main())
