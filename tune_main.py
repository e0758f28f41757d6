"""Sweep the hyperparameters of joint pruning and quantization: `python tune_main.py sweeps/dz_wd.yaml`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from upath import UPath

from codeq.config import ConfigError, Template
from codeq.config.arguments import as_number, as_text
from codeq.config.document import read_document
from codeq.config.dry_run import plan
from codeq.config.environment import load_env_file
from codeq.config.errors import BadInput, Problem, SourceLocation
from codeq.config.exit_codes import ALL_FAILED, BAD_INPUT, DAMAGED, DONE, interrupted
from codeq.config.libraries import check_libraries
from codeq.config.merge import OPTIONS
from codeq.config.paths import expand_path, is_url, option_path
from codeq.config.selection import selection_objectives
from codeq.config.streams import prepare_streams
from codeq.config.text import pluralize
from codeq.plugins import Plugin, add_plugin_option, error_line, load_plugins, stored_plugins

if TYPE_CHECKING:
    from codeq.execution.session import Session
    from codeq.results.sweep_result import SweepResult
    from codeq.search.sweep_state import SweepState
    from codeq.train.tracking import Tracker

INTERRUPTED = "interrupted; the same command with --resume goes on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `codeq.config.exit_codes`)."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    load_env_file()
    try:
        plugins = load_plugins(options.plugin)
        template = Template.load(option_path("FILE", options.template), options.set, _given(options))
        if options.address == "":
            reason = "is empty, must be a cluster's address, or auto"
            raise ConfigError([Problem(SourceLocation("--address"), "", reason)])
        selection_objectives(template.sweep, options.pick)  # a bad name is reported before anything starts
    except ConfigError as error:
        print(error, file=sys.stderr)
        if options.resume and not options.plugin:
            _print_stored_plugins(options)
        return BAD_INPUT
    if options.dry_run or options.probe:
        try:
            return _dry_run(template, options.probe)
        except KeyboardInterrupt:
            return interrupted(signal.SIGINT)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _sweep(template, plugins, options, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as interrupt:
        print(INTERRUPTED, file=sys.stderr)
        return interrupted(interrupt.args[0] if interrupt.args else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tune_main.py", description=__doc__)
    parser.add_argument("template", metavar="FILE", help="a training config whose values may be distributions")
    text = "override a value of the file"
    parser.add_argument("--set", action="append", default=[], type=as_text, metavar="KEY=VALUE", help=text)
    add_plugin_option(parser)
    parser.add_argument("--trials", type=as_number, metavar="N", help="configs to try in all (sweep.trials)")
    parser.add_argument("--name", type=as_text, help="folder below the storage (sweep.name)")
    text = "a folder or URL for the results (sweep.storage)"
    parser.add_argument("--storage", type=as_text, metavar="WHERE", help=text)
    parser.add_argument("--device", type=as_text, metavar="D", help="auto, cpu, cuda or mps")
    parser.add_argument("--address", metavar="ADDRESS", help="join this Ray cluster (auto: the one on this machine)")
    text = "start Ray's and Optuna's dashboards and print their addresses"
    parser.add_argument("--dashboard", action="store_true", help=text)
    parser.add_argument("--resume", action="store_true", help="go on with the trials that are in the folder already")
    parser.add_argument("--pick", metavar="METRIC", help="best.yaml is the front's best in this metric, or its knee")
    parser.add_argument("--dry-run", action="store_true", help="check the file, print what would be searched, and stop")
    parser.add_argument("--probe", action="store_true", help="a dry run that also forecasts the time from a few steps")
    return parser


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that set a key: texts as they stand, and the number of trials."""
    given = {option: getattr(options, option.removeprefix("--")) for option in OPTIONS}
    return {option: value for option, value in given.items() if value is not None}


def _print_stored_plugins(options: argparse.Namespace) -> None:
    """Print the option that gives the sweep's stored plug-ins again: its template may name their parts."""
    with contextlib.suppress(OSError, ConfigError, ValueError, AttributeError):
        file = Path(option_path("FILE", options.template))
        sweep = read_document(file).data.get("sweep") or {}
        name = options.name or sweep.get("name") or file.stem
        stored = stored_plugins(UPath(expand_path(options.storage or sweep.get("storage") or "results")) / name)
        if stored:
            again = " ".join(f"--plugin {shlex.quote(str(path))}" for path in stored)
            print(f"the sweep was begun with a plug-in; give it again: {again}", file=sys.stderr)


def _dry_run(template: Template, probe: bool) -> int:
    """Print the plan, and what is known to be impossible about it. Starts and downloads nothing."""
    from codeq.execution.session import check_networks

    print(plan(template), flush=True)
    try:
        if template.sweep.search.warm_start or template.sweep.study or is_url(template.sweep.storage):
            _check_places(template)
        check_networks(template)
    except BadInput as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    return _forecast(template) if probe else DONE


def _check_places(template: Template) -> None:
    """Check where the sweep is to store and read; prints how many trials a warm start learns from."""
    from codeq.search.sweep_state import check_servers, sweep_folder  # imports Optuna
    from codeq.search.warm_start import warm_start_trials

    check_servers(template, connect=False)
    if template.sweep.search.warm_start:
        known = warm_start_trials(template, sweep_folder(template))
        print(f"  warm start: {pluralize(len(known), 'trial')} of {template.sweep.search.warm_start}")


def _forecast(template: Template) -> int:
    from codeq.data import DataUnavailable  # torch
    from codeq.execution.forecast import forecast, forecast_lines

    try:
        for line in forecast_lines(forecast(template)):
            print(f"  {line}")
    except Exception as error:
        reason = error_line(error) or (str(error) if isinstance(error, DataUnavailable | ValueError) else None)
        if reason is None:
            raise
        print(reason, file=sys.stderr)
        return BAD_INPUT
    return DONE


def _sweep(
    template: Template, plugins: Sequence[Plugin], options: argparse.Namespace, arguments: Sequence[str]
) -> int:
    # Imported here, since Ray and torch take seconds: --help, --dry-run and a bad file must respond at once.
    from codeq.execution.session import RunOptions, Session
    from codeq.search.sweep_state import open_sweep
    from codeq.storage.run_log import recorded_run
    from codeq.storage.trial_folder import StateDamaged

    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("codeq.train.tracking").setLevel(logging.INFO)
    try:
        check_libraries(template, sweep=True, dashboard=options.dashboard)
        with (
            open_sweep(template, options.resume, plugins) as state,
            recorded_run(state.folder, arguments),
            contextlib.closing(_tracker(state)) as tracker,
        ):
            session = Session(template, RunOptions(options.address, options.dashboard))
            return _run(state, session, tracker, options.pick)
    except BadInput as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except StateDamaged as error:
        print(error, file=sys.stderr)
        return DAMAGED


def _tracker(state: SweepState) -> Tracker:
    from codeq.train.tracking import open_tracker

    project = state.template.tree.get("wandb_project")
    return open_tracker(project, state.local / "wandb", group=state.template.sweep.name)


def _run(state: SweepState, session: Session, tracker: Tracker, pick: str | None) -> int:
    """Search, report, confirm the winners, report again."""
    from codeq.execution.run_sweep import run_sweep
    from codeq.results.advice import write_advice
    from codeq.results.page import try_write_page
    from codeq.results.report import write_report
    from codeq.results.tables import print_confirmation, print_front
    from codeq.results.tracked import sweep_report
    from codeq.results.winners import MEASURED_BY, test_accuracy_here

    template = state.template
    run_sweep(state, session, tracker, lambda: try_write_page(state.folder, template, pick=pick))
    if not template.sweep.confirm:
        session.end(meanwhile=None if session.interrupt_signal else MEASURED_BY)
    found = write_report(state.folder, template, None if session.interrupt_signal else test_accuracy_here, pick)
    print_front(found, template)
    confirmed = session.interrupt_signal is None and _confirm(state, session, found)
    session.end()
    if confirmed:
        found = write_report(state.folder, template, None if session.interrupt_signal else test_accuracy_here, pick)
    print_confirmation(found, template)
    page = try_write_page(state.folder, template, found)
    print(f"{state.folder}: {', '.join([*found.files, *([page] if page else [])])}")
    tracker.report(sweep_report(state.folder, template, found, page))
    print(write_advice(state.folder, template, found.trials, found.front), end="")
    if session.interrupt_signal is not None:
        print(INTERRUPTED, file=sys.stderr)
        return interrupted(session.interrupt_signal)
    return ALL_FAILED if found.all_failed else DONE


def _confirm(state: SweepState, session: Session, found: SweepResult) -> bool:
    """Train the winners again as `sweep.confirm` asks; returns whether any run was trained."""
    from codeq.results.confirmation import planned_runs

    wanted = state.template.sweep.confirm
    runs = planned_runs(found.trials, found.ranking, wanted) if wanted else []
    if wanted and not runs:
        print("Nothing to confirm: there is no winner.", flush=True)
    runs = [run for run in runs if run not in found.ended_runs]
    if runs:
        print(f"Confirmation with fresh seeds, runs to train: {len(runs)}", flush=True)
        session.start()
        # Ray reads its environment variables when it is imported, so it must not be imported before the start.
        from codeq.execution.confirm import confirm

        confirm(state, session, runs)
    return bool(runs)


if __name__ == "__main__":
    sys.exit(main())
