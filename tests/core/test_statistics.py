"""Paired comparison: verdicts, intervals, coverage."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_fractional_scores_use_the_bootstrap_and_repeat_exactly():
    rng = np.random.default_rng(0)
    baseline = list(rng.uniform(0, 0.5, 60))
    candidate = [b + 0.2 for b in baseline]
    first, second = compare_paired(baseline, candidate), compare_paired(baseline, candidate)
    assert first == second
    assert first.verdict == "better"
    assert first.low == pytest.approx(0.2)


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
