"""Which new candidates are suggested."""

from __future__ import annotations

from collections import Counter

import pytest

from mipro_walk.core.pooling import Estimate
from mipro_walk.core.sampler import crossed, spread, suggest
from mipro_walk.core.search_space import DemoSet, Instruction, SearchSpace, StageSpace

SAMPLERS = ("tpe", "tpe_multivariate", "random")


def make_space(instructions, demo_sets):
    return SearchSpace(
        [
            StageSpace(
                [Instruction(f"instruction {i}", "built-in") for i in range(instructions)],
                [DemoSet((), (d,), "random") for d in range(demo_sets)],
            )
        ]
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_are_new_and_different(sampler):
    known = {(i, d): Estimate(0.5, 0.1, 0.5) for i in range(4) for d in range(3)}
    found = suggest(make_space(6, 5), known, 8, sampler=sampler, rng_seed=0, rung=1)
    assert len(found) == len(set(found))
    assert found or sampler == "tpe_multivariate"  # which stays near the pairs it has seen
    assert not known.keys() & set(found)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_and_rung_give_the_same_suggestions(sampler):
    known = {(0, 0): Estimate(0.5, 0.1, 0.5), (1, 1): Estimate(0.7, 0.1, 0.7)}
    ask = {"space": make_space(9, 9), "estimates": known, "count": 5, "sampler": sampler}
    assert suggest(**ask, rng_seed=0, rung=1) == suggest(**ask, rng_seed=0, rung=1)
    assert len({tuple(suggest(**ask, rng_seed=s, rung=r)) for s in (0, 1) for r in (1, 2)}) > 1


def test_tpe_recombines_good_parts_and_random_does_not():
    """Instruction 3 and demo set 7 are good, but were never seen together."""
    quality = {(i, d): 0.5 + 0.2 * (i == 3) + 0.2 * (d == 7) for i in range(10) for d in range(10) if (i, d) != (3, 7)}
    known = {key: Estimate(q, 0.05, q) for key, q in quality.items() if sum(key) % 3 != 1 or q > 0.5}
    space = make_space(10, 10)
    hits = Counter(
        sampler
        for sampler in ("tpe", "random")
        for seed in range(20)
        if (3, 7) in suggest(space, known, 3, sampler=sampler, rng_seed=seed, rung=1)
    )
    assert hits["tpe"] >= 15 > hits["random"]


def test_everything_known_ends_without_suggestions():
    known = {(i, d): Estimate(0.5, 0.1, 0.5) for i in range(2) for d in range(2)}
    assert suggest(make_space(2, 2), known, 3, sampler="tpe", rng_seed=0, rung=1) == []


@pytest.mark.parametrize(("instructions", "demo_sets", "count"), [(12, 8, 16), (6, 6, 30), (200, 100, 400), (1, 8, 7)])
def test_start_is_spread_evenly_over_both_axes(instructions, demo_sets, count):
    keys = spread(make_space(instructions, demo_sets), count, rng_seed=0)
    assert len(keys) == len(set(keys)) == count
    assert (0, 0) not in keys
    for axis, size in ((0, instructions), (1, demo_sets)):
        times = Counter(key[axis] for key in keys)
        assert max(times.values()) - min(times.get(level, 0) for level in range(size)) <= 2


def test_new_levels_are_crossed_with_the_leader():
    assert crossed((1, 2), [[5, 6, 7], [9]], []) == [(5, 2), (1, 9), (6, 2), (7, 2)]
    assert crossed((1, 2), [[], [8, 9]], [(1, 8)]) == [(1, 9)]
