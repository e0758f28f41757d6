"""One of several processes that share a GPU: trains a published example for some seconds.

    python -m benchmarks.gpu_process CONFIG DEVICE SECONDS [KEY=VALUE ...]

Prints `ready` after a warm-up epoch, starts when it reads a line, and prints its epochs per second at the end.
"""

from __future__ import annotations

import sys
import time

from benchmarks.configs import synthetic_config
from codeq.train.loop import create_train_state, fit


def main(path: str, device: str, seconds: str, *overrides: str) -> None:
    """Run the command line."""
    rows = fit(create_train_state(synthetic_config(path, [f"device={device}", "threads=1", *overrides])))
    next(rows)
    print("ready", flush=True)
    sys.stdin.readline()
    started, epochs = time.perf_counter(), 0
    while time.perf_counter() - started < float(seconds):
        next(rows)
        epochs += 1
    print(epochs / (time.perf_counter() - started))


if __name__ == "__main__":
    main(*sys.argv[1:])
