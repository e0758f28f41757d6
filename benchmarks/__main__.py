"""Measure CoDeQ Tune and the code that it replaces in alternation, and print one table.

    python -m benchmarks [ROW ...]     run all rows, or the named ones, and store them in benchmarks/results
    python -m benchmarks --table       print the table of the stored results, without running anything
    python -m benchmarks --quick       check that everything works: few repetitions, nothing is stored
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.rows import NAMES, group
from benchmarks.table import RESULTS, markdown, read, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    names = options.rows or list(NAMES)
    if options.table:
        print(markdown(read(RESULTS / f"{name}.json") for name in names if (RESULTS / f"{name}.json").exists()), end="")
        return 0
    settings = Options(options.quick, tuple(options.set))
    machine = describe()
    measured = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows = group(name)(settings)
        measured.append((rows, machine))
        if not options.quick:
            write(RESULTS / f"{name}.json", rows, machine)
    print(markdown(measured), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="few repetitions and small sizes; keeps nothing")
    parser.add_argument("--table", action="store_true", help="print what is kept, run nothing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for our side's configs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
