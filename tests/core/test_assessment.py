"""Checks of a measured prompt decide on what was measured and say how sure that is."""

from __future__ import annotations

import pytest

from mipro_walk.core.assessment import assess, compare, regressed, score_of
from mipro_walk.core.statistics import mean_interval
from mipro_walk.types import Outcome


def outcomes(*scores: float | None) -> list[Outcome]:
    return [Outcome(score) for score in scores]


def test_unknown_outcomes_are_left_out_and_counted() -> None:
    found = score_of(outcomes(1.0, 0.0, None, 1.0))
    assert (found.mean, found.n, found.unknown) == (pytest.approx(2 / 3), 3, 1)
    assert score_of(outcomes(None)).mean is None


@pytest.mark.parametrize(("limit", "passed"), [(0.75, True), (0.7501, False), (0.0, True)])
def test_a_score_passes_when_it_reaches_the_limit(limit: float, passed: bool) -> None:
    (check,) = assess(score_of(outcomes(1, 1, 1, 0)), None, fail_under=limit, max_regression=None)
    assert check.passed is passed
    assert ("chance may decide" in check.message) is (limit > 0.0)


def test_nothing_measured_passes_no_limit() -> None:
    (check,) = assess(score_of(outcomes(None, None)), None, fail_under=0.0, max_regression=None)
    assert not check.passed


@pytest.mark.parametrize(("most", "passed"), [(0.1, True), (0.0999, False), (0.5, True)])
def test_a_loss_is_allowed_up_to_the_limit(most: float, passed: bool) -> None:
    old, new = outcomes(*[1.0] * 10), outcomes(*[1.0] * 9, 0.0)
    comparison = compare(old, new)
    assert comparison.difference == pytest.approx(-0.1)
    (check,) = assess(score_of(new), comparison, fail_under=None, max_regression=most)
    assert check.passed is passed
    assert "not significantly worse" in check.message
    assert regressed(old, new) == [9]


def test_a_row_that_one_of_both_could_not_answer_is_no_regression() -> None:
    assert regressed(outcomes(1, None, 1), outcomes(None, 0, 0)) == [2]


def test_no_common_row_passes_no_comparison() -> None:
    comparison = compare(outcomes(None), outcomes(1.0))
    (check,) = assess(score_of(outcomes(1.0)), comparison, fail_under=None, max_regression=1.0)
    assert not check.passed


def test_the_interval_of_a_mean_is_known_in_closed_form_or_repeats() -> None:
    assert mean_interval([1.0] * 20) == pytest.approx((0.8389, 1.0), abs=1e-3)
    assert mean_interval([]) == (0.0, 1.0)
    partial = [0.2, 0.4, 0.9, 0.5] * 10
    assert mean_interval(partial) == mean_interval(partial)
    low, high = mean_interval(partial)
    assert low < 0.5 < high
