"""`python -m codeq.results list|report|compare`: look at sweeps that were run, without Ray or torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from upath import UPath

from codeq.config.arguments import ArgumentParser, as_text
from codeq.config.environment import load_env_file
from codeq.config.errors import BadInput, ConfigError
from codeq.config.exit_codes import BAD_INPUT, DONE
from codeq.config.paths import option_path
from codeq.config.streams import prepare_streams, print_wrapped
from codeq.config.text import first_line
from codeq.search.servers import check_reading
from codeq.search.study import quiet_optuna
from codeq.storage.trial_folder import StateDamaged


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 good, 2 a folder that cannot be read)."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    load_env_file()
    quiet_optuna()
    try:
        match options.command:
            case "list":
                return _list(_folder(options.storage))
            case "report":
                return _report(_folder(options.folder), options.out)
            case _:
                return _compare([_folder(folder) for folder in options.folders], options.out)
    except (BadInput, ConfigError, StateDamaged) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename2 or error.filename or options.command}: {error.strerror or error}", file=sys.stderr)
    return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m codeq.results", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="one line for each sweep of a storage")
    listed.add_argument("storage", nargs="?", default="results", type=as_text, metavar="STORAGE")
    report = commands.add_parser("report", help="write report.html again")
    report.add_argument("folder", type=as_text, metavar="FOLDER", help="a sweep's folder: results/NAME")
    report.add_argument("--out", type=as_text, metavar="FILE", help="write it there instead of FOLDER/report.html")
    compared = commands.add_parser("compare", help="fronts and costs of several sweeps, printed and as a page")
    compared.add_argument("folders", nargs="+", type=as_text, metavar="FOLDER")
    compared.add_argument("--out", type=as_text, default="compare.html", metavar="FILE", help="default: compare.html")
    return parser


def _folder(argument: str) -> UPath:
    """The folder; behind a URL it is tried. Raises BadInput if nothing can be read there."""
    try:
        path = UPath(option_path("FOLDER", argument))
        check_reading(path)
    except ValueError as error:  # of an unknown scheme, or a server that cannot be used
        raise BadInput(f"FOLDER: {argument}: {first_line(error)}") from None
    return path.absolute() if isinstance(path, Path) else path


def _list(storage: UPath) -> int:
    from codeq.results.sweep_list import describe_sweeps

    for line in describe_sweeps(storage):
        print_wrapped(line)
    return DONE


def _report(folder: UPath, out: str | None) -> int:
    from codeq.results.page import write_page
    from codeq.results.stored_sweep import load_sweep

    stored = load_sweep(folder)
    print(write_page(folder, stored.template, stored.found, out=UPath(option_path("--out", out)) if out else None))
    return DONE


def _compare(folders: Sequence[UPath], out: str) -> int:
    from codeq.results.comparison import compare
    from codeq.results.page.comparison_page import write_comparison
    from codeq.results.stored_sweep import load_sweep
    from codeq.results.tables import print_comparison

    found = compare([load_sweep(folder) for folder in folders])
    print_comparison(found)
    print(write_comparison(UPath(option_path("--out", out)), found))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
