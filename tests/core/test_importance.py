"""The weight of both axes: told where the scores show it, refused in words where they do not."""

from __future__ import annotations

import random

import pytest

from mipro_walk.core.importance import CHANCE, MAX_CANDIDATES, MIN_CANDIDATES, axis_importance
from mipro_walk.core.scoreboard import Scoreboard
from mipro_walk.core.search_space import DemoSet, Instruction, SearchSpace, StageSpace
from mipro_walk.types import Candidate, Outcome

ROWS = 40


def space_of(instructions=8, demo_sets=8):
    return SearchSpace(
        [
            StageSpace(
                [Instruction(f"Instruction {i}", "built-in") for i in range(instructions)],
                [DemoSet((), (), f"set {d}") for d in range(demo_sets)],
            )
        ]
    )


def board_of(space, accuracy, count=48, seed=0):
    """Score ``count`` random candidates on ``ROWS`` rows with a true accuracy by (instruction, demo set)."""
    rng = random.Random(seed)
    board = Scoreboard(range(ROWS))
    for key in rng.sample(list(space), count):
        entry = board.entry(key, Candidate(str(key)))
        entry.outcomes = {row: Outcome(float(rng.random() < accuracy(*key))) for row in range(ROWS)}
    return board


@pytest.mark.parametrize("seed", range(5))
def test_the_axis_that_decides_gets_the_weight(seed):
    space = space_of()
    by_demos = axis_importance(board_of(space, lambda _i, d: 0.2 + 0.08 * d, seed=seed), space)
    by_instruction = axis_importance(board_of(space, lambda i, _d: 0.2 + 0.08 * i, seed=seed), space)
    assert by_demos.demo_set > 0.8
    assert by_demos.p_values["demo_set"] <= CHANCE
    assert by_instruction.instruction > 0.8
    assert by_demos.instruction + by_demos.demo_set == pytest.approx(1)


def test_an_axis_with_more_indices_is_not_important_for_that():
    space = space_of(instructions=24, demo_sets=4)
    found = axis_importance(board_of(space, lambda _i, d: 0.2 + 0.2 * d), space)
    assert found.demo_set > 0.8


def test_noise_is_hardly_ever_given_a_weight():
    space = space_of()
    found = [axis_importance(board_of(space, lambda _i, _d: 0.5, seed=seed), space) for seed in range(20)]
    unknown = [importance for importance in found if importance.instruction is None]
    assert len(unknown) >= 18  # one of twenty is expected to look like more
    assert {importance.reason for importance in unknown} == {
        "the scores of 48 candidates follow neither axis more than shuffled scores do"
    }


def test_few_candidates_are_no_number_but_a_reason():
    space = space_of()
    found = axis_importance(board_of(space, lambda _i, d: 0.1 * d, count=12), space)
    assert (found.instruction, found.demo_set, found.candidates) == (None, None, 12)
    assert found.reason == f"12 candidates say nothing about it; it takes {MIN_CANDIDATES}"


def test_equal_scores_and_one_index_are_reasons():
    space = space_of()
    assert axis_importance(board_of(space, lambda _i, _d: 1.0), space).reason == "all 48 candidates scored the same"
    narrow = space_of(demo_sets=1, instructions=30)
    assert "only one of the two" in axis_importance(board_of(narrow, lambda i, _d: i / 30, count=30), narrow).reason
    assert "only one of the two" in axis_importance(Scoreboard(range(3)), space).reason


def test_a_candidate_without_a_known_outcome_does_not_count():
    space = space_of()
    board = board_of(space, lambda _i, d: 0.1 * d, count=MIN_CANDIDATES)
    next(iter(board.entries.values())).outcomes = {0: Outcome(None, None, "failed")}
    assert axis_importance(board, space).candidates == MIN_CANDIDATES - 1


def test_of_very_many_candidates_a_part_is_read():
    space = space_of(20, 20)
    found = axis_importance(board_of(space, lambda _i, d: d / 20, count=MAX_CANDIDATES + 50), space)
    assert found.candidates == MAX_CANDIDATES
    assert found.demo_set > 0.8


def test_the_same_scores_give_the_same_answer():
    space = space_of()
    first, second = (axis_importance(board_of(space, lambda i, d: 0.05 * (i + d)), space) for _ in range(2))
    assert first == second
