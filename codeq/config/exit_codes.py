"""What the commands' exit codes mean."""

from __future__ import annotations

DONE = 0
BAD_INPUT = 2
"""The file, an option or the data it names; one line per problem says what to write instead."""
ALL_FAILED = 3
"""Every trial (or the single run) diverged, collapsed or crashed."""
DAMAGED = 4
"""Stored state is damaged, or going on with it was refused."""


def interrupted(signal_number: int) -> int:
    """Interrupted by a signal, saved: 130 for SIGINT, 143 for SIGTERM, as shells have it."""
    return 128 + signal_number
