"""How candidates and rows are divided over the rungs."""

from __future__ import annotations

import pytest

from mipro_walk.core.pooling import Estimate
from mipro_walk.core.rungs import make_rungs, share_rows, survivors


@pytest.mark.parametrize("trials", range(1, 200, 7))
@pytest.mark.parametrize("last", [1, 2, 5])
def test_rungs_hold_every_trial_and_spend_every_rollout(trials, last):
    rungs = make_rungs(trials, last, 1000)
    assert sum(rung.members for rung in rungs) == trials
    assert rungs[-1].spent_after == 1000
    assert [r.spent_after for r in rungs] == sorted(r.spent_after for r in rungs)
    assert [r.members for r in rungs] == sorted((r.members for r in rungs), reverse=True)


def test_the_walkthroughs_ten_trials_are_three_rungs():
    assert [rung.members for rung in make_rungs(10, 2, 90)] == [5, 3, 2]


def test_newcomers_join_every_rung_but_the_last():
    first, *middle, last = make_rungs(54, 2, 650)
    assert first.newcomers == first.members
    assert all(0 < rung.newcomers < rung.members for rung in middle)
    assert last.newcomers == 0


def test_rows_of_the_first_rung_can_be_fixed():
    rungs = make_rungs(10, 2, 100, first_rows=4)
    assert rungs[0].spent_after == 20
    assert rungs[-1].spent_after == 100


def test_lowest_members_are_filled_up_first_and_the_rest_goes_to_the_most_promising():
    assert share_rows([10, 0, 0], 8, 50) == [10, 4, 4]
    assert share_rows([10, 0, 0], 9, 50) == [10, 5, 4]
    assert share_rows([2, 2], 100, 5) == [5, 5]
    assert share_rows([2, 2], 0, 5) == [2, 2]


def test_survivors_are_the_best_and_what_is_less_known_gets_its_chance():
    estimates = {(0, 0): Estimate(0.5, 0.01, 0.5), (0, 1): Estimate(0.49, 0.2, 0.49), (1, 0): Estimate(0.3, 0.01, 0.3)}
    assert survivors(estimates, 2) == [(0, 1), (0, 0)]


def test_ties_go_to_the_lower_key():
    estimates = dict.fromkeys([(2, 0), (0, 3), (0, 1)], Estimate(0.5, 0.1, 0.5))
    assert survivors(estimates, 2) == [(0, 1), (0, 3)]


def test_a_quarter_of_the_places_goes_to_those_that_score_best_alone():
    expected = {(i, 0): Estimate(0.6 - i / 100, 0.05, 0.6) for i in range(8)}
    needle = {(9, 9): Estimate(0.5, 0.05, 0.95)}
    assert (9, 9) in survivors(expected | needle, 4)
    assert survivors(expected | needle, 3) == [(0, 0), (1, 0), (2, 0)]
