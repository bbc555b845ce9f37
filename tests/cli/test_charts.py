"""The chart of a search: width, marks, ASCII, odd histories."""

from __future__ import annotations

from typing import Any

import pytest

from mipro_walk.cli.charts import HEIGHT, MAX_WIDTH, progress_chart, sparkline
from tests.cli.scripted_backend import documents, trial


def chart(history: dict[str, Any], width: int = 80, *, is_ascii: bool = False) -> list[str]:
    return [line.plain for line in progress_chart(history, width=width, is_ascii=is_ascii)]


HISTORY = documents()["score_history.json"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_width_or_than_a_hundred_columns(width: int) -> None:
    lines = chart(HISTORY, width)
    picture = lines[: HEIGHT + 2]
    assert max(map(len, picture)) <= min(width, MAX_WIDTH)


def test_every_known_trial_is_a_point_and_an_unknown_one_is_none() -> None:
    assert sum(line.count("●") for line in chart(HISTORY)[:HEIGHT]) == 9


def test_test_scores_stand_apart_and_every_group_says_its_n() -> None:
    lines = chart(HISTORY)
    assert sum(line.count("B") for line in lines[:HEIGHT]) == 1
    assert sum(line.count("W") for line in lines[:HEIGHT]) == 1
    caption = "\n".join(lines[HEIGHT:])
    for part in ("(n=6)", "(val, n=6)", "(val, n=24)", "(test, n=100)", "compare within a group only"):
        assert part in caption


def test_an_ascii_terminal_gets_ascii() -> None:
    assert "\n".join(chart(HISTORY, is_ascii=True)).isascii()


def test_higher_scores_stand_higher() -> None:
    lines = chart(HISTORY)
    baseline = next(i for i, line in enumerate(lines) if "B" in line)
    winner = next(i for i, line in enumerate(lines) if "W" in line)
    assert winner < baseline


@pytest.mark.parametrize("count", [0, 1, 2, 57, 1000])
def test_any_number_of_trials_fits(count: int) -> None:
    history = {"iterations": [trial(i, 0.5, 0.5) for i in range(count)], "baseline": {"score": 0.1, "n": 5}}
    assert max(map(len, chart(history, 60)[: HEIGHT + 2])) <= 60


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_extreme_scores_lie_inside_the_frame(score: float) -> None:
    history = {"iterations": [trial(0, score, score)], "baseline": {"score": score, "n": 5}}
    assert sum("●" in line for line in chart(history)[:HEIGHT]) == 1


def test_a_search_in_which_nothing_is_known_draws_an_empty_frame() -> None:
    history = {"iterations": [trial(0, None, 0.0)], "baseline": {"score": None, "n": 0}}
    assert not any("●" in line for line in chart(history)[:HEIGHT])


def test_a_sparkline_rises_with_the_values_and_keeps_unknown_ones_blank() -> None:
    assert sparkline([0.0, None, 1.0], is_ascii=False) == "▁ █"
    assert sparkline([0.0, 0.5, 1.0] * 30, is_ascii=True, width=6).isascii()
    assert len(sparkline([0.5] * 90, is_ascii=False, width=6)) == 6


def test_of_gepa_only_scores_on_val_are_drawn() -> None:
    def step(number: int, val: float | None) -> dict[str, Any]:
        own = {"minibatch_score": 1.0, "num_seeds": 3, "val_score": val, "val_n": 16 if val is not None else 0}
        return {"iteration": number, **own, "best_score": 0.5, "best_n": 16}

    steps = [step(0, None), step(1, 0.5), step(2, None), step(3, 0.4)]
    history = {"algorithm": "gepa", "iterations": steps, "baseline": {"score": 0.3, "n": 16}}
    lines = chart(history)
    assert sum(line.count("●") for line in lines[:HEIGHT]) == 2
    assert "accepted instruction on val rows (n=16)" in "\n".join(lines[HEIGHT:])
