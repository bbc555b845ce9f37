"""Pooled estimates against drawn scores with a known truth."""

from __future__ import annotations

import numpy as np
import pytest

from mipro_walk.core.pooling import Observations, pool


def draw(truth, rows, seed=0, row_share=0.5):
    """Scores of every candidate on ``rows[key]`` rows; rows are easy or hard for all of them alike."""
    rng = np.random.default_rng(seed)
    ease = rng.standard_normal(max(rows.values())) * row_share**0.5
    keys = list(rows)
    candidate = np.repeat(np.arange(len(keys)), [rows[k] for k in keys])
    row = np.concatenate([np.arange(rows[k]) for k in keys])
    luck = rng.standard_normal(len(row)) * (1 - row_share) ** 0.5
    quality = np.array([truth[k] for k in keys])
    score = (quality[candidate] + ease[row] + luck > 0).astype(float)
    return Observations(keys, candidate, row, score)


def grid(instructions, demo_sets, rows, by_instruction=0.0, by_demo_set=0.0, seed=0):
    rng = np.random.default_rng(seed)
    i, d = by_instruction * rng.standard_normal(instructions), by_demo_set * rng.standard_normal(demo_sets)
    truth = {(a, b): i[a] + d[b] for a in range(instructions) for b in range(demo_sets)}
    return truth, dict.fromkeys(truth, rows)


def test_nothing_scored_gives_no_estimates():
    assert pool(Observations([], np.array([], int), np.array([], int), np.array([]))) == {}


def test_more_rows_make_an_estimate_surer():
    truth, rows = grid(4, 4, 20)
    rows[(0, 0)] = 200
    estimates = pool(draw(truth, rows))
    assert estimates[(0, 0)].sd < 0.7 * estimates[(1, 1)].sd


def test_a_lucky_short_run_does_not_beat_a_proven_one():
    candidate, row = np.array([0] * 40 + [1] * 2), np.r_[0:40, 0:2]
    estimates = pool(Observations([(0, 0), (1, 1)], candidate, row, np.r_[[1, 1, 1, 0] * 10, 1, 1]))
    assert estimates[(1, 1)].mean < 0.9
    assert estimates[(1, 1)].sd > estimates[(0, 0)].sd


def test_estimates_are_closer_to_the_truth_than_each_candidates_own_mean():
    errors_pooled, errors_own = [], []
    for seed in range(20):
        truth, rows = grid(8, 6, 8, by_instruction=0.2, by_demo_set=0.3, seed=seed)
        observed = draw(truth, rows, seed=seed)
        estimates = pool(observed)
        accuracy = {key: float(np.mean(draw({key: q}, {key: 4000}, seed=1).score)) for key, q in truth.items()}
        for index, key in enumerate(observed.keys):
            errors_pooled.append((estimates[key].mean - accuracy[key]) ** 2)
            errors_own.append((observed.score[observed.candidate == index].mean() - accuracy[key]) ** 2)
    assert np.mean(errors_pooled) < 0.6 * np.mean(errors_own)


def test_a_candidate_borrows_from_those_that_share_its_parts():
    truth, rows = grid(5, 5, 30)
    for key in truth:
        truth[key] = 1.0 if key[0] == 2 else -0.5
    rows[(2, 2)] = 1
    estimates = pool(draw(truth, rows))
    assert estimates[(2, 2)].mean > estimates[(3, 2)].mean + 0.1


def test_hard_rows_count_against_nobody():
    """One candidate met only the hard half of the rows, and got as many of them right as the others did."""
    rng = np.random.default_rng(3)
    others = [(i, d) for i in range(4) for d in range(4) if (i, d) != (0, 0)]
    easy, hard = np.ones(20), (rng.random(20) < 0.3).astype(float)
    candidate = np.concatenate([np.full(40, c) for c in range(len(others))] + [np.full(20, len(others))])
    row = np.concatenate([np.arange(40)] * len(others) + [np.arange(20, 40)])
    score = np.concatenate([np.concatenate([easy, hard])] * len(others) + [hard])
    estimates = pool(Observations([*others, (0, 0)], candidate, row, score))
    mean = np.mean([estimates[key].mean for key in others])
    assert estimates[(0, 0)].mean == pytest.approx(mean, abs=0.05)


def test_equal_candidates_are_estimated_nearly_equal():
    truth, rows = grid(6, 6, 10)
    means = [e.mean for e in pool(draw(truth, rows, seed=5)).values()]
    assert max(means) - min(means) < 0.12


def test_the_order_of_the_sums_changes_no_bit():
    observed = draw(*grid(6, 5, 30, 0.4, 0.4))
    backwards = Observations(observed.keys, observed.candidate[::-1], observed.row[::-1], observed.score[::-1])
    assert pool(observed) == pool(backwards)
