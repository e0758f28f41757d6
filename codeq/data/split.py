"""Stratified splits that depend only on the labels."""

from __future__ import annotations

import numpy as np

from codeq.data.raw import Indices, Labels


def stratified_split(labels: Labels, fraction: float, *, seed: int) -> tuple[Indices, Indices]:
    """Return the indices to keep and to hold out, both ascending; `fraction` of each class, rounded, is held out.

    labels: (N,). fraction: 0 < fraction < 1. A class of two or more images is in both parts; a class of one
    is kept. Raises ValueError if nothing can be held out.
    """
    # NumPy guarantees that RandomState's stream never changes, so the split is the same in every version.
    order = np.random.RandomState(seed).permutation(len(labels))
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        wanted = max(1, round(fraction * len(members)))
        held[members[: min(wanted, len(members) - 1)]] = True
    if not held.any():
        raise ValueError(f"no class has the two images that holding out a fraction of {fraction:g} needs")
    return np.flatnonzero(~held), np.flatnonzero(held)
