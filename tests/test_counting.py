"""One row is `1 row`: where numbers are told to people, the noun fits."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import pytest
from rich.console import Console

from mipro_walk.cli.results_screen import render
from mipro_walk.counting import counted
from mipro_walk.report.page import render_report
from mipro_walk.results import BEST_PROMPT, EXPLANATIONS
from mipro_walk.results.words import judge_in_words, recommendation_in_words, unknown_in_words, verdict_in_words
from tests.cli.scripted_backend import documents

NOUNS = "rows|rollouts|calls|answers|labels|trials|candidates|instructions|demonstrations|sets|rungs|times|are|were"
MISMATCH = re.compile(rf"(?<![\d.,])1 (?:[a-z]+ ){{0,2}}(?:{NOUNS})\b")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 test rows"), (1, "1 test row"), (2, "2 test rows"), (2000, "2,000 test rows")]
)
def test_the_noun_fits_its_number(number: int, said: str) -> None:
    assert counted(number, "test row") == said


def all_of_one() -> dict[str, Any]:
    """Return the documents of a run on one row."""
    found = documents(demos=1)
    best, explained = found[BEST_PROMPT], found[EXPLANATIONS]
    best["score"] |= {"n": 1, "excluded": 1, "gained": 1, "lost": 0}
    best["search_score"] = {"mean": 0.5, "n": 1}
    best["pinned"] = {"n": 1, "held": 1, "holds": True, "broken": [], "unknown": []}
    explained["ablation"] |= {"n": 1, "excluded": 1}
    explained["test"] |= {"n": 1, "unknown": 1}
    explained["judge"] = {
        "answers": 1,
        "rated_twice": 1,
        "same": 1,
        "mean_difference": 0.0,
        "largest_difference": 0.0,
        "rated": 1,
        "only_score": 1.0,
    }
    return found


def test_the_results_of_one_row_speak_of_one_row() -> None:
    raw = io.StringIO()
    render(all_of_one(), Console(file=raw, width=300, highlight=False, emoji=False, markup=False))
    assert "1 unseen test row," in raw.getvalue()
    assert MISMATCH.findall(raw.getvalue()) == []
    page = html.unescape(re.sub(r"(?s)<(style|script).*?</\1>|<[^>]+>", " ", render_report(all_of_one())))
    assert "1 unseen row" in page
    assert MISMATCH.findall(page) == []


def test_the_words_of_one_row_are_of_one_row() -> None:
    found = all_of_one()
    best = found[BEST_PROMPT]
    untested = best | {"score": None}
    texts = [verdict_in_words(best), verdict_in_words(untested), unknown_in_words(best["score"])]
    texts += [recommendation_in_words(best), judge_in_words(found[EXPLANATIONS]["judge"])]
    assert [text for text in texts if MISMATCH.search(text)] == []
