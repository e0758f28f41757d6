"""The view as text, at the widths and heights of terminals."""

from __future__ import annotations

import re

import pytest

from codeq.execution.progress.draw import draw, draw_waiting
from codeq.execution.progress.plot import Axis, Mark, scatter
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.search.outcome import TrialEnd
from tests.execution.progress.conftest import OBJECTIVES, row

AT_80 = """\

dz_wd  ━━━━━━━━━━━─────────────────────────────  7 of 24 trials
2 running · 4 finished · 2 stopped · 1 failed
0:00:12 elapsed · 1 trial-epochs/s · ends in about 3 min (2 min to 4 min)

trial  epoch  val_acc  sparsity  rel_bops  mean_bits
 0007   7/20    90.07    0.7654    0.0512       4.00
 0008   0/20
"""
NUMBERS = {
    "97.47", "0.9596", "94.93", "0.9825", "97.70", "0.2058", "93.21", "90.07", "0.7654", "0.0512", "4.00",
}  # fmt: skip


def lines(progress: SweepProgress, width: int, height: int, ascii_only: bool = False) -> list[str]:
    return draw(progress.snapshot(now=7.0), 12.3, width, height, ascii_only).plain.split("\n")


def test_at_80_columns_the_plot_is_beside_the_rows_of_the_front(progress: SweepProgress) -> None:
    drawn = lines(progress, 80, 24)
    assert [line.rstrip() for line in drawn[:8]] == AT_80.splitlines()
    (title,) = [line for line in drawn if line.startswith("front so far")]
    assert title == "front so far  3 of 4 finished trials"
    heading = drawn[drawn.index(title) + 1]
    assert re.fullmatch(r"val_acc +trial  val_acc  sparsity  rel_bops", heading)
    rows = [line[heading.index("trial") :].split()[:3] for line in drawn[drawn.index(title) + 2 :][:3]]
    assert rows == [["0004", "97.70", "0.2058"], ["0000", "97.47", "0.9596"], ["0002", "94.93", "0.9825"]]


def test_at_40_columns_the_plot_is_above_the_rows_of_the_front(progress: SweepProgress) -> None:
    drawn = lines(progress, 40, 30)
    plot, rows = drawn.index("val_acc"), drawn.index("trial  val_acc  sparsity  rel_bops")
    assert plot < rows
    assert drawn[rows + 1 :] == [
        " 0004    97.70    0.2058    0.0512", " 0000    97.47    0.9596    0.0512",
        " 0002    94.93    0.9825    0.0512",
    ]  # fmt: skip


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("height", [8, 12, 24, 60])
@pytest.mark.parametrize("width", [38, 40, 57, 71, 72, 80, 120, 300])
def test_no_line_is_too_long_and_no_number_is_cut(
    progress: SweepProgress, width: int, height: int, ascii_only: bool
) -> None:
    drawn = lines(progress, width, height, ascii_only)
    assert len(drawn) <= height and max(map(len, drawn)) <= width
    assert set(re.findall(r"\d+\.\d+", "\n".join(drawn))) <= NUMBERS
    bar = 1 if height > 12 else 0
    assert "7 of 24 trials" in drawn[bar] and "2 running" in drawn[bar + 1]
    assert not ascii_only or all(line.isascii() for line in drawn)


def test_rows_that_do_not_fit_are_counted(progress: SweepProgress) -> None:
    for number in range(9, 50):
        progress.start(f"{number:04d}", 20)
    drawn = lines(progress, 80, 24)
    shown = sum(line.strip().endswith("0/20") or " 7/20 " in line for line in drawn)
    assert f"and {43 - shown} more" in drawn and shown >= 3
    assert any(line.startswith("front so far") for line in drawn)


def test_before_the_first_epoch_the_view_says_what_it_waits_for() -> None:
    progress = SweepProgress("new", EpochPlan(3, 20, rungs=()), OBJECTIVES)  # type: ignore[arg-type]
    progress.start("0000", 20)
    drawn = lines(progress, 80, 24)
    assert any("waiting for the first epoch" in line for line in drawn)
    assert draw_waiting("starting Ray", 3.2).plain.endswith(" starting Ray  3 s")


def test_one_objective_is_drawn_over_the_order_of_the_ends() -> None:
    progress = SweepProgress("one", EpochPlan(3, 20, rungs=()), {"val_acc": "max"})
    for number, val_acc in enumerate((90.0, 95.0, 92.0)):
        progress.end(f"{number:04d}", TrialEnd("finished", "", row(20, val_acc, 0.5)), 20)
    progress.start("0003", 20)
    progress.report("0003", row(1, 91.0, 0.5), 1.0)
    drawn = lines(progress, 40, 30)
    assert "front so far  1 of 3 finished trials" in drawn
    assert any(re.fullmatch(r" +1 +finished +3", line) for line in drawn)


def test_points_are_where_their_values_are() -> None:
    axes = Axis("x", "{:.0f}".format), Axis("y", "{:.0f}".format)
    marks = [Mark(0, 0, "a", ""), Mark(10, 10, "b", ""), Mark(5, 5, "c", ""), Mark(10, 10, "d", "")]
    assert [line.plain for line in scatter(marks, *axes, width=13, height=6)] == [
        " y",
        "10 │        d",
        "   │    c",
        " 0 │a",
        "   └─────────",
        "    0  x   10",
    ]


def test_a_single_point_is_drawn() -> None:
    axes = Axis("x", "{:.1f}".format), Axis("y", "{:.1f}".format)
    drawn = [line.plain for line in scatter([Mark(0.5, 2.0, "a", "")], *axes, width=20, height=6)]
    assert sum("a" in line for line in drawn) == 1
