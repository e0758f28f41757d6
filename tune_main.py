"""Sweep the hyperparameters of joint pruning and quantization: `python tune_main.py sweeps/dz_wd.yaml`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from codeq.config import ConfigError, Template
from codeq.config.exit_codes import ALL_FAILED, BAD_INPUT, DAMAGED, DONE, interrupted
from codeq.config.plan import plan

if TYPE_CHECKING:
    from codeq.sweep.runner import SweepEnd


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `codeq.config.exit_codes`)."""
    options = _parser().parse_args(arguments)
    try:
        template = Template.load(options.template, _overrides(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    if options.dry_run or options.probe:
        print(plan(template))
        return _forecast(template) if options.probe else DONE
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _sweep(template, options)
    except KeyboardInterrupt as interrupt:
        print("interrupted; the same command with --resume goes on", file=sys.stderr)
        return interrupted(interrupt.args[0] if interrupt.args else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tune_main.py", description=__doc__)
    parser.add_argument("template", metavar="FILE", help="a training config whose values may be distributions")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the file")
    parser.add_argument("--trials", metavar="N", help="configs to try (sweep.trials)")
    parser.add_argument("--name", help="folder below the storage (sweep.name)")
    parser.add_argument("--storage", metavar="WHERE", help="a folder or URL for the results (sweep.storage)")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or mps")
    parser.add_argument("--address", metavar="ADDRESS", help="join this Ray cluster (auto: the one on this machine)")
    parser.add_argument("--dashboard", action="store_true", help="start Ray's dashboard and print its address")
    parser.add_argument("--resume", action="store_true", help="go on with the trials that are in the folder already")
    parser.add_argument("--dry-run", action="store_true", help="check the file, print what would be searched, and stop")
    parser.add_argument("--probe", action="store_true", help="a dry run that also forecasts the time from a few steps")
    return parser


def _overrides(options: argparse.Namespace) -> list[str]:
    keys = {"trials": "sweep.trials", "name": "sweep.name", "storage": "sweep.storage", "device": "device"}
    given = {key: getattr(options, option) for option, key in keys.items()}
    return [*options.set, *(f"{key}={value}" for key, value in given.items() if value is not None)]


def _forecast(template: Template) -> int:
    from codeq.data import DataUnavailable  # torch
    from codeq.train.forecast import forecast, forecast_lines

    try:
        for line in forecast_lines(forecast(template)):
            print(f"  {line}")
    except (DataUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return interrupted(signal.SIGINT)
    return DONE


def _sweep(template: Template, options: argparse.Namespace) -> int:
    # Imported here: --help, --dry-run and a bad file must answer before Ray's and torch's seconds of import.
    import dotenv

    from codeq.sweep.cluster import BadInput
    from codeq.sweep.runner import RunOptions, run_sweep
    from codeq.train.trial_folder import StateDamaged

    dotenv.load_dotenv(Path.cwd() / ".env")
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("codeq.train.tracking").setLevel(logging.INFO)
    try:
        end = run_sweep(template, RunOptions(options.address, options.dashboard, options.resume))
        return _report(template, end)
    except BadInput as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except StateDamaged as error:
        print(error, file=sys.stderr)
        return DAMAGED


def _report(template: Template, end: SweepEnd) -> int:
    from codeq.results.advice import write_advice
    from codeq.results.report import write_report
    from codeq.results.tables import print_front
    from codeq.results.winners import test_accuracy_here
    from codeq.sweep.importance import importances
    from codeq.sweep.state import sweep_folder

    folder, sweep = sweep_folder(template), template.sweep
    measure_test = end.test_accuracy or test_accuracy_here
    report = write_report(folder, template, measure_test if end.interrupted_by is None else None)
    names = [parameter.name for parameter in template.parameters]
    print_front(report.front, report.winner, list(sweep.objectives), names)
    if report.front and report.winner is None:
        bounds = " and ".join(f"{name} {bound}" for name, bound in sweep.constraints.items())
        print(f"No trial satisfies {bounds}: no best.yaml.")
    print(f"{folder}: trials.csv, pareto.csv" + (", best.yaml (marked *)" if report.winner else ""))
    print(write_advice(folder, template, report.trials, report.front, importances), end="")
    if end.interrupted_by is not None:
        print("interrupted; the same command with --resume goes on", file=sys.stderr)
        return interrupted(end.interrupted_by)
    return ALL_FAILED if report.all_failed else DONE


if __name__ == "__main__":
    sys.exit(main())
