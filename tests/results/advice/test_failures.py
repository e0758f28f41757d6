"""Where trials went wrong."""

from __future__ import annotations

from collections.abc import Callable

from codeq.config import Template
from codeq.results.advice.failures import FailureRegion, failure_regions
from codeq.results.trials import TrialResult
from tests.results.advice.conftest import DECAY, LR

Make = Callable[..., TrialResult]


def sweep(make_trial: Make, wrong: list[float], healthy: list[float], name: str = DECAY) -> list[TrialResult]:
    kinds = [("collapsed", value) for value in wrong] + [("stopped", value) for value in healthy]
    return [make_trial(number, {name: value}, status) for number, (status, value) in enumerate(kinds)]


def test_an_end_of_a_range_with_every_collapsed_trial_and_no_healthy_one_is_named(
    template: Template, make_trial: Make
) -> None:
    good = [float(value) / 2 for value in range(16)]
    assert failure_regions(sweep(make_trial, [8.0, 9.0], good), template) == [
        FailureRegion("collapsed", DECAY, "above", 7.5, (0, 1)),
    ]  # fmt: skip
    low = [0.001 * value for value in range(2, 18)]
    assert failure_regions(sweep(make_trial, [2e-4, 1e-4], low, LR), template) == [
        FailureRegion("collapsed", LR, "below", 0.002, (0, 1)),
    ]  # fmt: skip


def test_a_healthy_trial_among_them_makes_it_no_region(template: Template, make_trial: Make) -> None:
    good = [float(value) / 2 for value in range(16)]
    assert failure_regions(sweep(make_trial, [8.0, 9.0], [*good, 8.5]), template) == []


def test_what_chance_explains_is_not_named(template: Template, make_trial: Make) -> None:
    """One of seventeen is the last of them once in seventeen times, two of eight once in twenty-eight."""
    assert failure_regions(sweep(make_trial, [9.0], [float(value) / 2 for value in range(16)]), template) == []
    assert failure_regions(sweep(make_trial, [8.0, 9.0], [float(value) for value in range(6)]), template) == []
    assert failure_regions(sweep(make_trial, [], [1.0, 2.0]), template) == []
