"""Intervals over rows, and over rows and runs."""

from __future__ import annotations

import pytest

from mipro_walk.comparison.intervals import Interval, differences, over_runs, share_of, wilson


def test_a_share_has_wilsons_interval_and_leaves_unknown_rows_out():
    # 8 of 10: Wilson gives 0.4902 to 0.9433.
    found = wilson([1.0] * 8 + [0.0] * 2 + [None])
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.8, 0.4902, 0.9433)


def test_without_a_row_anything_is_possible():
    assert share_of(0.0, 0) == Interval(0.0, 0.0, 1.0)
    assert wilson([None, None]) == Interval(0.0, 0.0, 1.0)


def test_the_mean_over_runs_is_the_same_every_time_and_holds_its_value():
    scores = [[1.0, 0.0, None, 1.0], [0.0, 0.0, 1.0, 1.0]]
    first, again = over_runs(scores), over_runs(scores)
    assert first == again
    assert first.low <= first.value <= first.high
    assert first.value == pytest.approx(4 / 7)


def test_a_difference_is_unknown_where_one_of_the_two_is():
    assert differences([1.0, None, 0.0], [0.0, 1.0, None]) == [1.0, None, None]
    with pytest.raises(ValueError, match="zip"):
        differences([1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.1, "no significant gain"), (0, 0, "no significant gain")],
)
def test_a_verdict_needs_an_interval_without_zero(low, high, verdict):
    assert Interval((low + high) / 2, low, high).verdict == verdict
