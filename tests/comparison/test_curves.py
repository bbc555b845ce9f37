"""Who had found what after how many rollouts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mipro_walk.comparison.curves import curves, hindsight, level_of_half
from mipro_walk.types import Candidate
from tests.comparison.conftest import BASELINE, BETTER, as_val, make_run


def test_one_ruler_for_all_runs_knows_every_row_that_any_run_has_asked():
    few = make_run(rng_seed=0, val=as_val(BETTER, {0: 1.0, 1: 1.0}))
    many = make_run(rng_seed=1, val=as_val(BETTER, dict.fromkeys(range(2, 30), 0.0)))
    alone, together, other_way = (hindsight(runs)[BETTER.prompt_hash] for runs in ([few], [few, many], [many, few]))
    assert alone.mean > 0.9
    assert together == other_way
    assert together.mean < 0.2


def test_the_curve_starts_at_the_baseline_and_steps_when_the_choice_changes():
    (curve,) = curves([make_run()]).values()
    rollouts = [point.rollouts for point in curve.points]
    assert rollouts == [0, 60, 100]
    assert curve.points[0].mean < curve.points[1].mean == curve.points[2].mean
    assert curve.settled == (60,)


def test_several_runs_give_a_mean_and_their_spread():
    late = make_run(rng_seed=1, trace=((0, BASELINE.prompt_hash), (80, BETTER.prompt_hash), (100, BETTER.prompt_hash)))
    curve = curves([make_run(), late])["mipro"]
    between = next(point for point in curve.points if point.rollouts == 60)
    assert between.low < between.mean < between.high
    assert curve.points[-1].low == curve.points[-1].high
    assert curve.settled == (60, 80)


def test_a_choice_that_came_back_settles_when_it_came_for_good():
    other = Candidate("Another.").prompt_hash
    trace = ((0, BASELINE.prompt_hash), (20, BETTER.prompt_hash), (40, other), (70, BETTER.prompt_hash))
    assert curves([make_run(trace=trace)])["mipro"].settled == (70,)


def test_a_method_that_never_asked_about_the_baseline_starts_where_something_is_known():
    run = make_run("random", val=as_val(BETTER, {0: 1.0, 1: 0.0}))
    assert [point.rollouts for point in curves([run])["random"].points] == [60, 100]


def test_half_of_the_way_is_between_the_lowest_start_and_the_highest_end():
    found = curves([make_run(), make_run("random", trace=((0, BASELINE.prompt_hash), (100, BASELINE.prompt_hash)))])
    half = level_of_half(found)
    assert half == pytest.approx((found["mipro"].points[0].mean + found["mipro"].end) / 2)
    assert found["mipro"].first_at(half) == 60
    assert found["random"].first_at(half) is None


def test_there_is_no_half_of_the_way_where_nothing_rose():
    flat = replace(make_run(), trace=((0, BASELINE.prompt_hash), (100, BASELINE.prompt_hash)))
    assert level_of_half(curves([flat])) is None
    assert level_of_half({}) is None
