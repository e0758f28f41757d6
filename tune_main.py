"""Sweep the hyperparameters of joint pruning and quantization: `python tune_main.py sweeps/dz_wd.yaml`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeq.config import ConfigError, Template
from codeq.config.address import address_problem
from codeq.config.arguments import ArgumentParser, as_number, as_text
from codeq.config.document import read_document
from codeq.config.dry_run import plan
from codeq.config.environment import load_env_file
from codeq.config.errors import BadInput, Problem, SourceLocation
from codeq.config.exit_codes import ALL_FAILED, BAD_INPUT, DAMAGED, DONE, interrupted
from codeq.config.libraries import check_libraries
from codeq.config.merge import OPTIONS
from codeq.config.passwords import hide_passwords, mask_password
from codeq.config.paths import expand_path, is_url, option_path
from codeq.config.selection import selection_objectives
from codeq.config.signals import handled_signals, received_signal
from codeq.config.streams import prepare_streams, print_wrapped
from codeq.config.text import pluralize
from codeq.plugins import Plugin, add_plugin_option, error_line, load_plugins, stored_plugins

if TYPE_CHECKING:
    from codeq.execution.progress.terminal import Terminal, Verbosity
    from codeq.execution.session import Session
    from codeq.results.sweep_result import SweepResult
    from codeq.search.sweep_state import SweepState
    from codeq.train.tracking import Tracker

log = logging.getLogger(__name__)

GOES_ON = "the same command with --resume goes on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `codeq.config.exit_codes`)."""
    prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    hide_passwords()
    options = _parser().parse_args(arguments)
    code = DONE
    with contextlib.suppress(KeyboardInterrupt), handled_signals():
        code = _main(options, arguments)
    if (number := received_signal()) is None:
        return code
    if not (options.dry_run or options.probe):
        print(f"interrupted; the same command with --resume goes on:\n{_resume_command(arguments)}", file=sys.stderr)
    return interrupted(number)


def _main(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    load_env_file()
    try:
        plugins = load_plugins(options.plugin)
        template = Template.load(option_path("FILE", options.template, local=True), options.set, _given(options))
        if options.address is not None and (reason := address_problem(options.address)):
            raise ConfigError([Problem(SourceLocation("--address"), "", reason)])
        selection_objectives(template.sweep, options.pick)  # a bad name is reported before anything starts
    except ConfigError as error:
        print(error, file=sys.stderr)
        if options.resume and not options.plugin:
            _print_stored_plugins(options)
        return BAD_INPUT
    if options.dry_run or options.probe:
        return _dry_run(template, options.probe)
    return _sweep(template, plugins, options, arguments)


def _resume_command(arguments: Sequence[str]) -> str:
    """The command that goes on, to be copied; it has no password."""
    given = [mask_password(argument) for argument in arguments if argument != "--resume"]
    return shlex.join(["python", sys.argv[0], *given, "--resume"])


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python tune_main.py", description=__doc__)
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
    output = parser.add_mutually_exclusive_group()
    text = "print the front and the files alone"
    output.add_argument("--quiet", dest="verbosity", action="store_const", const="quiet", help=text)
    text = "print a line for every epoch of every trial, and Ray's own messages"
    output.add_argument("--verbose", dest="verbosity", action="store_const", const="verbose", help=text)
    parser.set_defaults(verbosity="normal")
    parser.add_argument("--dry-run", action="store_true", help="check the file, print what would be searched, and stop")
    parser.add_argument("--probe", action="store_true", help="a dry run that also forecasts the time from a few steps")
    return parser


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that set a key: texts as they stand, and the number of trials."""
    given = {option: getattr(options, option.removeprefix("--")) for option in OPTIONS}
    return {option: value for option, value in given.items() if value is not None}


def _print_stored_plugins(options: argparse.Namespace) -> None:
    """Print the option that gives the sweep's stored plug-ins again: its template may name their parts."""
    from upath import UPath

    with contextlib.suppress(OSError, ConfigError, ValueError, AttributeError):
        file = Path(option_path("FILE", options.template, local=True))
        sweep = read_document(file).data.get("sweep") or {}
        name = options.name or sweep.get("name") or file.stem
        stored = stored_plugins(UPath(expand_path(options.storage or sweep.get("storage") or "results")) / name)
        if stored:
            again = " ".join(f"--plugin {shlex.quote(str(path))}" for path in stored)
            print(f"the sweep was begun with a plug-in; give it again: {again}", file=sys.stderr)


def _dry_run(template: Template, probe: bool) -> int:
    """Print the plan, and what is known to be impossible about it. Starts and downloads nothing."""
    from codeq.execution.disk import disk_use
    from codeq.execution.session import check_networks

    print(plan(template), flush=True)
    try:
        if template.sweep.search.warm_start or template.sweep.study or is_url(template.sweep.storage):
            _check_places(template)
        check_networks(template)
        if use := disk_use(template):
            print(f"  {use}")
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
    # Imported here, since --help, --dry-run and a bad file must respond at once.
    from codeq.execution.progress.terminal import Terminal

    try:
        check_libraries(template, sweep=True, dashboard=options.dashboard)
        with Terminal(options.verbosity, f"opening the sweep {template.sweep.name}") as terminal:
            return _open_and_run(template, plugins, options, arguments, terminal)
    except BadInput as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


def _open_and_run(
    template: Template,
    plugins: Sequence[Plugin],
    options: argparse.Namespace,
    arguments: Sequence[str],
    terminal: Terminal,
) -> int:
    # Imported here, since Optuna, Ray and torch take seconds, in which the terminal shows what it waits for.
    from codeq.execution.session import RunOptions, Session
    from codeq.search.study import StudyUnavailable
    from codeq.search.sweep_state import open_sweep
    from codeq.storage.machine_fault import machine_fault
    from codeq.storage.run_log import recorded_run
    from codeq.storage.trial_folder import StateDamaged

    _log_to_terminal(terminal.verbosity)
    try:
        with (
            open_sweep(template, options.resume, plugins) as state,
            recorded_run(state.folder, arguments) as record_duration,
            contextlib.closing(_tracker(state)) as tracker,
        ):
            session = Session(template, RunOptions(options.address, options.dashboard), terminal)
            return _run(state, session, tracker, options.pick, record_duration)
    except StateDamaged as error:
        terminal.clear()
        print(error, file=sys.stderr)
        return DAMAGED
    except StudyUnavailable as error:
        terminal.clear()
        print(f"the study cannot be used now: {error}; {GOES_ON}", file=sys.stderr)
        return DAMAGED
    except Exception as error:
        if (fault := machine_fault(error)) is None:
            raise
        terminal.clear()
        print(f"{fault}; {GOES_ON}", file=sys.stderr)
        return DAMAGED


def _log_to_terminal(verbosity: Verbosity) -> None:
    """Send warnings and what is told of a sweep to standard output; if quiet only warnings, to standard error."""
    is_quiet = verbosity == "quiet"
    logging.basicConfig(format="%(message)s", stream=sys.stderr if is_quiet else sys.stdout)
    for name in ("codeq.execution", "codeq.train.tracking", __name__):
        logging.getLogger(name).setLevel(logging.WARNING if is_quiet else logging.INFO)


def _tracker(state: SweepState) -> Tracker:
    from codeq.train.tracking import open_tracker

    project = state.template.tree.get("wandb_project")
    return open_tracker(project, state.local / "wandb", group=state.template.sweep.name)


def _run(
    state: SweepState, session: Session, tracker: Tracker, pick: str | None, record_duration: Callable[[], None]
) -> int:
    """Search, report, confirm the winners, report again."""
    from codeq.execution.run_sweep import run_sweep
    from codeq.results.advice import write_advice
    from codeq.results.page import try_write_page
    from codeq.results.report import write_report
    from codeq.results.retention import remove_unneeded_checkpoints
    from codeq.results.tables import print_confirmation, print_front
    from codeq.results.tracked import sweep_report
    from codeq.results.winners import MEASURED_BY, test_accuracy_here

    template, terminal = state.template, session.terminal
    run_sweep(state, session, tracker, lambda: try_write_page(state.folder, template, pick=pick))
    terminal.wait("testing the winners")
    if not template.sweep.confirm:
        session.end(meanwhile=None if session.is_interrupted else MEASURED_BY)
    found = write_report(state.folder, template, None if session.is_interrupted else test_accuracy_here, pick)
    terminal.clear()
    print_front(found, template)
    confirmed = not session.is_interrupted and _confirm(state, session, found)
    terminal.wait("writing the report")
    session.end()
    if confirmed:
        found = write_report(state.folder, template, None if session.is_interrupted else test_accuracy_here, pick)
    if not session.is_interrupted:
        remove_unneeded_checkpoints(found, template.sweep)
    record_duration()
    page = try_write_page(state.folder, template, found)
    advice = write_advice(state.folder, template, found.trials, found.front)
    terminal.clear()
    print_confirmation(found, template)
    print_wrapped(f"{state.folder}: {', '.join([*found.files, *([page] if page else [])])}")
    if terminal.verbosity != "quiet":
        print_wrapped(advice)
    tracker.report(sweep_report(state.folder, template, found, page))
    if session.fault is not None:
        print(f"{session.fault}; {GOES_ON}", file=sys.stderr)
        return DAMAGED
    return ALL_FAILED if found.all_failed else DONE


def _confirm(state: SweepState, session: Session, found: SweepResult) -> bool:
    """Train the winners again as `sweep.confirm` asks; returns whether any run was trained."""
    from codeq.results.confirmation import planned_runs

    wanted = state.template.sweep.confirm
    runs = planned_runs(found.trials, found.ranking, wanted) if wanted else []
    if wanted and not runs:
        log.info("Nothing to confirm: there is no winner.")
    runs = [run for run in runs if run not in found.ended_runs]
    if runs:
        log.info("Confirmation with fresh seeds, runs to train: %d", len(runs))
        session.start()
        # Ray reads its environment variables when it is imported, so it must not be imported before the start.
        from codeq.execution.confirm import confirm

        confirm(state, session, runs)
    return bool(runs)


if __name__ == "__main__":
    sys.exit(main())
