"""`python -m codeq.config schema` prints the JSON Schema of templates; `keys` prints docs/every-key.md; `check FILE...`
checks templates; `space FILE` prints a template that searches around a plain training config."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from codeq.config.arguments import ArgumentParser
from codeq.config.environment import load_env_file
from codeq.config.errors import ConfigError, Problem, SourceLocation
from codeq.config.json_schema import schema_text
from codeq.config.key_reference import key_reference
from codeq.config.paths import option_path
from codeq.config.space import space_text
from codeq.config.streams import prepare_streams
from codeq.config.template import Template
from codeq.plugins import add_plugin_option, load_plugins


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 good, 2 problems found)."""
    parser = ArgumentParser(prog="python -m codeq.config", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("schema", help="print the JSON Schema of a template")
    commands.add_parser("keys", help="print every key with its type, default and meaning, as Markdown")
    check = commands.add_parser("check", help="check template files and print every problem")
    check.add_argument("files", nargs="+", metavar="FILE")
    space = commands.add_parser("space", help="print a template that searches around a plain training config")
    space.add_argument("file", metavar="FILE")
    space.add_argument("--out", metavar="OUT", help="write it there; a file that exists is not replaced")
    for command in (check, space):
        add_plugin_option(command)
    prepare_streams()
    options = parser.parse_args(arguments)
    if options.command in ("schema", "keys"):
        sys.stdout.write(schema_text() if options.command == "schema" else key_reference())
        return 0
    load_env_file()
    try:
        load_plugins(options.plugin)
        if options.command == "space":
            return _write_space(Path(option_path("FILE", options.file, local=True)), options.out)
        problems = [problem for file in options.files for problem in _problems(file)]
    except ConfigError as error:
        problems = [str(error)]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 2 if problems else 0


def _write_space(file: Path, out: str | None) -> int:
    """Print or write the template. Raises ConfigError for a file that cannot be read, searched or written."""
    text = space_text(file)
    if out is None:
        sys.stdout.write(text)
        return 0
    try:
        with open(option_path("--out", out, local=True), "x", encoding="utf-8") as created:
            created.write(text)
    except OSError as error:
        raise ConfigError([Problem(SourceLocation("--out"), "", f"{out}: {error.strerror or error}")]) from None
    return 0


def _problems(file: str) -> list[str]:
    try:
        Template.load(option_path("FILE", file, local=True))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


if __name__ == "__main__":
    sys.exit(main())
