"""`python -m codeq.train CONFIG`: train one config, without Ray."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import dotenv

from codeq.config import ConfigError, RunConfig, Template
from codeq.config.exit_codes import ALL_FAILED, BAD_INPUT, DAMAGED, interrupted
from codeq.plugins import add_plugin_option, error_line, load_plugins

log = logging.getLogger("codeq.train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `codeq.config.exit_codes`)."""
    options = _parser().parse_args(arguments)
    dotenv.load_dotenv(Path.cwd() / ".env")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    overrides = [*options.set, *([f"device={options.device}"] if options.device else [])]
    try:
        load_plugins(options.plugin)
        template = Template.load(options.config, overrides, single_run=True)
        config = template.run_config()
    except ConfigError as error:
        return _refuse(error, BAD_INPUT)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _train(config, options.resume, template.sweep.scheduler.grace_epochs)
    except KeyboardInterrupt as interrupt:
        print("interrupted; --resume goes on after the last completed epoch", file=sys.stderr)
        return interrupted(interrupt.args[0] if interrupt.args else signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codeq.train", description="Train one config, without Ray.")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file without distributions")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps; overrides the file")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from this file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the file")
    add_plugin_option(parser)
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _train(config: RunConfig, resume: Path | None, grace_epochs: int) -> int:
    # Imported here: a bad file and --help must answer before torch's seconds of import.
    from codeq.data import DataUnavailable
    from codeq.models import WeightsUnavailable
    from codeq.train.checkpoint import CheckpointError, load_checkpoint
    from codeq.train.loop import create_train_state
    from codeq.train.single_run import train_single

    try:
        state = create_train_state(config)
    except (DataUnavailable, WeightsUnavailable, ValueError) as error:
        return _refuse(error, BAD_INPUT)
    if resume is not None:
        try:
            load_checkpoint(resume, state)
        except CheckpointError as error:
            return _refuse(error, DAMAGED)
        log.info("resumed %s after epoch %d", resume, state.epoch)
    try:
        row = train_single(state, grace_epochs)
    except Exception as error:
        if line := error_line(error):
            return _refuse(line, BAD_INPUT)
        if not isinstance(error, OSError):
            raise
        return _refuse(f"{error.filename or config.save_dir}: {error.strerror or error}", BAD_INPUT)
    if row is not None and row.status != "finished":
        return _refuse(f"{row.status} at epoch {row.epoch}: {row.reason}", ALL_FAILED)
    return 0


def _refuse(reason: object, exit_code: int) -> int:
    print(reason, file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
