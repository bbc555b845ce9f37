"""Paired comparison: verdicts, intervals, coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mipro_walk.core.statistics import compare_paired, detectable_difference, rows_needed


def test_identical_scores_are_no_significant_gain():
    result = compare_paired([1.0, 0.0] * 50, [1.0, 0.0] * 50)
    assert result.verdict == "no significant gain"
    assert result.difference == 0
    assert result.p_value == 1.0
    assert result.low < 0 < result.high


@pytest.mark.parametrize(("base", "cand", "verdict"), [(0.2, 0.6, "better"), (0.6, 0.2, "worse")])
def test_large_differences_are_named(base, cand, verdict):
    n = 100
    baseline = [1.0 if i < base * n else 0.0 for i in range(n)]
    candidate = [1.0 if i < cand * n else 0.0 for i in range(n)]
    result = compare_paired(baseline, candidate)
    assert result.verdict == verdict
    assert result.p_value < 0.001
    assert result.difference == pytest.approx(cand - base)


def test_mcnemar_mid_p_value_matches_the_binomial_by_hand():
    # 8 gained, 2 lost: 2 * (1 + 10 + 45 / 2) / 2**10
    baseline = [0.0] * 8 + [1.0] * 2 + [1.0] * 10
    candidate = [1.0] * 8 + [0.0] * 2 + [1.0] * 10
    assert compare_paired(baseline, candidate).p_value == pytest.approx(67 / 1024)


def test_unknown_pairs_are_excluded_and_widen_the_interval():
    baseline = [0.0, 1.0] * 50
    candidate = [1.0, 1.0] * 50
    whole = compare_paired(baseline, candidate)
    holed = compare_paired([None if i < 50 else b for i, b in enumerate(baseline)], candidate)
    assert holed.n == 50
    assert holed.excluded == 50
    assert holed.high - holed.low > whole.high - whole.low
    assert whole.excluded == 0
    assert (whole.cautious_low, whole.cautious_high) == (whole.low, whole.high)


def test_cautious_interval_reaches_as_far_as_the_unknown_rows_could_take_it():
    baseline, candidate = [0.0] * 40 + [1.0] * 60, [1.0] * 20 + [0.0] * 20 + [1.0] * 60
    known = compare_paired(baseline, candidate)
    holed = compare_paired([*baseline, *[None] * 10], [*candidate, *[1.0] * 5, *[None] * 5])
    against = compare_paired([*baseline, *[1.0] * 10], [*candidate, *[1.0] * 5, *[0.0] * 5])
    in_favour = compare_paired([*baseline, *[0.0] * 10], [*candidate, *[1.0] * 10])
    assert (holed.low, holed.high, holed.verdict) == (known.low, known.high, "better")
    assert (holed.cautious_low, holed.cautious_high) == (against.low, in_favour.high)
    assert holed.cautious_low < known.low < known.high < holed.cautious_high


def test_verdict_that_the_unknown_rows_could_turn_says_so():
    baseline, candidate = [0.0] * 8 + [1.0] * 50, [1.0] * 8 + [1.0] * 50
    sure, shaky = (
        compare_paired(baseline, candidate),
        compare_paired([*baseline, *[None] * 9], [*candidate, *[None] * 9]),
    )
    assert (sure.verdict, sure.could_turn) == ("better", False)
    assert (shaky.verdict, shaky.could_turn) == ("better", True)


def test_all_unknown_says_nothing():
    result = compare_paired([None, None], [1.0, 0.0])
    assert (result.n, result.verdict, result.p_value) == (0, "no significant gain", 1.0)


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="1 baseline scores"):
        compare_paired([1.0], [1.0, 0.0])


SCORES = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([0.0, 1 / 3, 0.1, 0.3])
)
PAIRS = st.tuples(st.just((0.5, 0.5)), st.lists(st.tuples(SCORES, SCORES), max_size=80)).map(lambda p: [p[0], *p[1]])
"""Pairs of scores of which one is never 0 or 1, so that all are fractional."""


@st.composite
def shifted(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Draw pairs of which the second is often higher, so that zero lies on either side of the interval's end."""
    gain = draw(st.floats(0, 0.3))
    return [(b, min(1.0, c * (1 - gain) + gain)) for b, c in draw(PAIRS)]


def compared(pairs):
    baseline, candidate = zip(*pairs, strict=True)
    return compare_paired(baseline, candidate)


@given(pairs=st.one_of(PAIRS, shifted()))
@example(pairs=[(0.2, 0.6)] * 5)
@example(pairs=[(0.2, 0.6)] * 6)
@example(pairs=[(0.6, 0.3)] * 20)
@example(pairs=[(0.1, 0.3), (0.3, 0.1), (0.5, 0.5)] * 9)
@settings(max_examples=300, deadline=None)
def test_zero_lies_outside_the_interval_of_fractional_scores_exactly_if_p_is_below_005(pairs):
    result = compared(pairs)
    assert (result.low > 0 or result.high < 0) == (result.p_value < 0.05)
    assert -1 <= result.low <= result.difference + 1e-8
    assert result.difference - 1e-8 <= result.high <= 1
    assert (result.verdict == "no significant gain") == (result.p_value >= 0.05)


@given(pairs=PAIRS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_order_of_rows_does_not_matter_and_exchanged_prompts_turn_the_signs(pairs, data):
    result, shuffled = compared(pairs), compared(data.draw(st.permutations(pairs)))
    exchanged = compared([(c, b) for b, c in pairs])
    assert (shuffled.low, shuffled.high, shuffled.p_value) == (result.low, result.high, result.p_value)
    assert (-exchanged.high, -exchanged.low, exchanged.p_value) == (result.low, result.high, result.p_value)


def p_of_shift(differences, shift):
    """Two-sided p-value of the sign-flip test by its definition: every pattern of signs, absolute sums."""
    moved = [d - shift for d in differences]
    sums = [
        abs(sum(s * d for s, d in zip(signs, moved, strict=True))) for signs in itertools.product((1, -1), repeat=9)
    ]
    return sum(s >= abs(sum(moved)) - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize("rng_seed", range(6))
def test_interval_holds_the_shifts_that_flipping_every_sign_does_not_reject(rng_seed):
    rng = np.random.default_rng(rng_seed)
    differences = np.round(rng.uniform(-0.3, 0.6, 9), 3 if rng_seed % 2 else 1)
    result = compare_paired([0.3] * 9, list(0.3 + differences))
    assert result.p_value == pytest.approx(p_of_shift(differences, 0))
    assert p_of_shift(differences, result.low - 1e-6) < 0.05 <= p_of_shift(differences, result.low + 1e-8)
    assert p_of_shift(differences, result.high + 1e-6) < 0.05 <= p_of_shift(differences, result.high - 1e-8)


def test_drawn_flips_say_nearly_what_all_of_them_do(monkeypatch):
    rng = np.random.default_rng(3)
    baseline, candidate = rng.uniform(0, 0.8, 14), rng.uniform(0.1, 1, 14)
    exact = compare_paired(list(baseline), list(candidate))
    monkeypatch.setattr("mipro_walk.core.statistics.SUBSETS", 2**13)
    drawn = compare_paired(list(baseline), list(candidate))
    assert (drawn.low, drawn.high) != (exact.low, exact.high)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.01)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.02)


@pytest.mark.parametrize("n", range(1, 6))
def test_five_fractional_rows_or_fewer_reject_nothing(n):
    result = compare_paired([0.1] * n, [0.9] * n)
    assert (result.low, result.high, result.verdict) == (-1.0, 1.0, "no significant gain")
    assert result.p_value == 2 / 2**n


@pytest.mark.parametrize("n", [6, 15, 16, 60])
def test_one_gain_on_every_row_is_the_only_shift_left(n):
    rng = np.random.default_rng(0)
    baseline = list(rng.uniform(0, 0.5, n))
    result = compare_paired(baseline, [b + 0.2 for b in baseline])
    assert (result.low, result.high, result.verdict) == (0.2, 0.2, "better")


@pytest.mark.parametrize(("n", "unseen"), [(6, 0.393), (20, 0.139), (100, 0.0295)])
def test_equal_fractional_scores_leave_room_for_rows_not_seen(n, unseen):
    result = compare_paired([0.5] * n, [0.5] * n)
    assert (result.low, result.high) == pytest.approx((-unseen, unseen), abs=5e-4)
    assert (result.p_value, result.verdict) == (1.0, "no significant gain")
    assert (1 - result.high) ** n == pytest.approx(0.05)


UNKNOWN = st.lists(
    st.tuples(SCORES, SCORES, st.sampled_from(["baseline", "candidate", "both"])), min_size=1, max_size=12
)


@given(pairs=PAIRS, unknown=UNKNOWN)
@example(pairs=[(0.5, 0.5)] * 20, unknown=[(0.5, 0.5, "both")])
@settings(max_examples=100, deadline=None)
def test_no_outcome_of_the_unknown_rows_leads_out_of_the_cautious_interval(pairs, unknown):
    holes = [(None if gone != "candidate" else b, None if gone != "baseline" else c) for b, c, gone in unknown]
    holed = compared([*pairs, *holes])
    known = compared([*pairs, *((b, c) for b, c, _ in unknown)])
    assert holed.excluded == len(unknown)
    assert holed.cautious_low <= min(holed.low, known.low)
    assert max(holed.high, known.high) <= holed.cautious_high


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, covered, runs = 0.1, 0, 400
    for _ in range(runs):
        difficulty = rng.uniform(size=100)
        baseline = (difficulty < 0.4).astype(float)
        candidate = (np.where(rng.uniform(size=100) < 0.3, rng.uniform(size=100), difficulty) < 0.5).astype(float)
        result = compare_paired(list(baseline), list(candidate))
        covered += result.low <= truth <= result.high
    assert covered / runs >= 0.93


def test_equal_prompts_are_called_better_in_few_runs():
    rng = np.random.default_rng(2)
    better = sum(
        compare_paired(
            list((rng.uniform(size=100) < 0.5).astype(float)), list((rng.uniform(size=100) < 0.5).astype(float))
        ).verdict
        == "better"
        for _ in range(400)
    )
    assert better / 400 <= 0.05


@pytest.mark.parametrize("n", [5, 20, 60, 200])
def test_verdict_and_p_value_never_contradict_each_other(n):
    for gained in range(0, n + 1, max(1, n // 20)):
        for lost in range(0, n + 1 - gained, max(1, n // 20)):
            same = n - gained - lost
            result = compare_paired(
                [0.0] * gained + [1.0] * (lost + same), [1.0] * gained + [0.0] * lost + [1.0] * same
            )
            if result.verdict != "no significant gain":
                assert result.p_value < 0.05
                assert (result.low > 0) == (result.verdict == "better")


def test_more_rows_show_smaller_differences():
    shown = [detectable_difference(n, 0.3) for n in (400, 100, 0)]
    assert shown == sorted(shown)
    assert shown[-1] == 1.0


def test_rows_needed_matches_the_formula_by_hand():
    # (1.96 sqrt(0.3) + 0.8416 sqrt(0.3 - 0.01)) ** 2 / 0.1 ** 2
    assert rows_needed(0.1, 0.3) == 234
    assert rows_needed(-0.1, 0.3) == 234
    assert detectable_difference(234, 0.3) == pytest.approx(0.1, abs=0.001)


def test_so_many_rows_do_show_the_difference_four_times_in_five():
    rng = np.random.default_rng(4)
    n = rows_needed(0.1, 0.3)
    found = 0
    for _ in range(400):
        kind = rng.choice(3, n, p=[0.2, 0.1, 0.7])  # gained, lost, the same: a difference of 0.1
        found += compare_paired(list((kind != 0) * 1.0), list((kind != 1) * 1.0)).verdict == "better"
    assert 0.74 < found / 400 < 0.86
