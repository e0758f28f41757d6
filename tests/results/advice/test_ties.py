"""Which winners are equally accurate as far as the validation images can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from codeq.config import Template
from codeq.results.advice import Advice
from codeq.results.advice.text import advice_lines
from codeq.results.advice.ties import Accuracies, Tie, accuracies, noise
from codeq.results.trials import TrialResult

Make = Callable[..., TrialResult]
BOTH: Any = {"val_acc": "max", "sparsity": "max"}


def test_the_noise_is_the_standard_deviation_of_a_share() -> None:
    assert noise(90.0, 400) == pytest.approx(1.5)
    assert noise(50.0, 10_000) == pytest.approx(0.5)


def test_the_noise_is_never_less_than_one_image() -> None:
    assert noise(100.0, 400) == noise(0.0, 400) == pytest.approx(0.25)


def test_winners_within_the_noise_of_the_most_accurate_are_one_group(make_trial: Make) -> None:
    front = [
        make_trial(3, val_acc=90.0, sparsity=0.1),
        make_trial(7, val_acc=88.6, sparsity=0.4),
        make_trial(4, val_acc=87.4, sparsity=0.6),  # 1.2 from its neighbour, 2.6 from the first
        make_trial(5, val_acc=50.0, sparsity=0.9),
    ]
    found = accuracies(front, BOTH)
    assert found is not None
    assert found.ties == (Tie((3, 7), pytest.approx(1.4), pytest.approx(1.5), 400, {"sparsity": 7}),)


def test_gaps_above_the_noise_make_no_group(make_trial: Make) -> None:
    found = accuracies([make_trial(0, val_acc=90.0), make_trial(1, val_acc=88.4)], BOTH)
    assert found is not None
    assert (found.winners, found.images, found.ties) == (2, 400, ())


def test_more_images_tell_more_apart(make_trial: Make) -> None:
    front = [make_trial(0, val_acc=90.0, val_images=5000), make_trial(1, val_acc=89.0, val_images=5000)]
    found = accuracies(front, BOTH)
    assert found is not None and not found.ties
    assert found.noise == pytest.approx(noise(90.0, 5000))


def test_nothing_is_said_where_accuracy_was_not_wanted_or_its_images_are_unknown(make_trial: Make) -> None:
    front = [make_trial(0), make_trial(1)]
    assert accuracies(front, {"sparsity": "max"}) is None
    assert accuracies(front[:1], BOTH) is None
    for trial in front:
        del trial.row["val_images"]
    assert accuracies(front, BOTH) is None


def test_one_trial_that_is_the_best_in_several_objectives_is_named_once(template: Template) -> None:
    tie = Tie((3, 7), 1.4, 1.5, 400, {"sparsity": 7, "rel_bops": 7})
    lines = advice_lines(Advice(9, None, {}, [], Accuracies(2, 400, 1.5, (tie,)), []), template)
    assert [*lines][-1].endswith("choose by sparsity and rel_bops (trial 0007).")
