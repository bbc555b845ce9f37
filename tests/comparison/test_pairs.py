"""One method against another: what is paired, and what is said."""

from __future__ import annotations

from mipro_walk.comparison.pairs import in_points, pair_of
from mipro_walk.core.statistics import compare_paired

HIGH = (1.0,) * 30 + (0.0,) * 10
LOW = (1.0,) * 10 + (0.0,) * 30


def test_one_run_is_read_like_a_final_test():
    pair = pair_of("A", "B", [(HIGH, LOW)], [0])
    by_test = compare_paired(LOW, HIGH)
    assert (pair.difference.value, pair.difference.low, pair.difference.high) == (0.5, by_test.low, by_test.high)
    assert pair.verdict == by_test.verdict == "better"
    assert pair.words() == (
        f"A scored higher than B: +50.0 points (95 % interval {in_points(by_test.low)} to {in_points(by_test.high)}) "
        "on the same 40 test rows."
    )


def test_several_runs_are_paired_seed_by_seed_and_the_interval_covers_their_spread():
    same = pair_of("A", "B", [(HIGH, LOW)] * 4, range(4))
    swinging = pair_of("A", "B", [(HIGH, LOW), (LOW, HIGH)] * 2, range(4))
    assert same.verdict == "better"
    assert swinging.difference.value == 0
    assert swinging.verdict == "no significant gain"
    width, wide = (p.difference.high - p.difference.low for p in (same, swinging))
    assert wide > 1.5 * width
    assert "mean of 4 rng seeds" in same.words()


def test_no_difference_is_said_in_words():
    pair = pair_of("A", "B", [(HIGH, HIGH[::-1])])
    assert pair.verdict == "no significant gain"
    assert pair.words().startswith("No difference between A and B that these rows can show: 0.0 points")
    equal = pair_of("A", "B", [(HIGH, HIGH)] * 2, (0, 1))
    assert equal.words().startswith("No difference: A and B have the same score on every row")


def test_worse_is_said_in_words():
    assert pair_of("A", "B", [(LOW, HIGH)]).words().startswith("A scored lower than B: -50.0 points")


def test_pairs_with_an_unknown_answer_are_left_out_and_counted():
    pair = pair_of("A", "B", [((1.0, None, 0.0, 1.0), (0.0, 1.0, None, 1.0))])
    assert (pair.n, pair.excluded, pair.difference.value) == (2, 2, 0.5)


def test_nothing_to_pair_is_no_pair():
    assert pair_of("A", "B", []) is None
    assert pair_of("A", "B", [((None,), (1.0,))]) is None
