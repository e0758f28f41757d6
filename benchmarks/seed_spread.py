"""Train a config with several seeds and print mean ± standard deviation of its scores.

    python -m benchmarks.seed_spread CONFIG [--seeds 5] [--set KEY=VALUE ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys

from codeq.config import ConfigError, Template
from codeq.config.exit_codes import BAD_INPUT, DONE
from codeq.config.paths import option_path
from codeq.config.streams import prepare_streams
from codeq.train.loop import create_train_state, evaluate, fit

COLUMNS = ("val_acc %", "test_acc %", "sparsity %", "rel_bops %")


def measure(config: str, overrides: list[str], seed: int) -> tuple[float, ...]:
    """Return the last row of one run, in percent, and its test accuracy. Raises ConfigError for a bad file."""
    state = create_train_state(Template.load(config, [*overrides, f"seed={seed}"], single_run=True).run_config())
    *_, row = fit(state)
    if row.status != "finished":
        raise SystemExit(f"seed {seed}: {row.status}: {row.reason}")
    return row.val_acc, evaluate(state, state.data.test), 100 * row.sparsity, 100 * row.rel_bops


def main() -> int:
    """Print one line per column; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed_spread", description=__doc__)
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    prepare_streams()
    options = parser.parse_args()
    try:
        config = option_path("CONFIG", options.config, local=True)
        runs = [measure(config, options.set, seed) for seed in range(options.seeds)]
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    for name, values in zip(COLUMNS, zip(*runs, strict=True), strict=True):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name:<11} {statistics.mean(values):7.2f} ± {spread:.2f}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
