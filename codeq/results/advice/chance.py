"""Probabilities under chance alone, for significance tests."""

from __future__ import annotations

from math import comb

ALPHA = 0.01
"""Significance level of each test; low, because about ten tests are made for every sweep."""


def at_least(hits: int, tries: int, share: float) -> float:
    """The probability of `hits` or more in independent `tries`, each a hit with probability `share`."""
    return sum(comb(tries, k) * share**k * (1 - share) ** (tries - k) for k in range(hits, tries + 1))


def tail_probability(few: int, of: int) -> float:
    """The probability that a given `few` stand last in a random order of `of`."""
    return 1 / comb(of, few)
