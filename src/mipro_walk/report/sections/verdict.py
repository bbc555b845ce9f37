"""Is it better? The final test in words and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.charts.outcome import difference
from mipro_walk.results.words import (
    disagreement_in_words,
    headline,
    p_value_in_words,
    points,
    power_in_words,
    recommendation_in_words,
    unknown_in_words,
    verdict_in_words,
)

Document = Mapping[str, Any]
TONES = {"better": "is-good", "worse": "is-bad"}


def verdict(best: Document) -> dict[str, Any]:
    """Return the verdict of a ``best_prompt.json``, also where nothing was tested."""
    score = best.get("score")
    is_measured = score is not None and score["n"] > 0
    short = headline(score) if score is not None and is_measured else _undecided(score)
    return {
        "tone": TONES.get(score["verdict"], "is-neutral") if score is not None and is_measured else "is-neutral",
        "short": short,
        "headline": f"{short}: {_gain(score)}" if score is not None and is_measured else short,
        "sentence": _sentence(score) if score is not None and is_measured else verdict_in_words(best),
        "figures": _figures(score) if score is not None and is_measured else _search_figures(best),
        "chart": difference(score) if score is not None and is_measured else None,
        "notes": _notes(score) if score is not None and is_measured else [],
        "recommendation": recommendation_in_words(best),
    }


def _undecided(score: Document | None) -> str:
    return "Not tested" if score is None else "Not decided"


def _gain(score: Document) -> str:
    return f"{points(score['difference'])} points on {counted(score['n'], 'unseen row')}"


def _sentence(score: Document) -> str:
    said = {
        "better": "The winner does better than chance would explain",
        "worse": "The winner does worse than chance would explain",
    }.get(score["verdict"], "The difference may well be chance")
    return (
        f"{said}: on {counted(score['n'], 'test row')} that the search has never seen, the baseline scores "
        f"{score['baseline']:.2f} and the winner {score['winner']:.2f}. The true difference lies between "
        f"{points(score['low'])} and {points(score['high'])} points, as far as 95 % intervals can tell."
    )


def _figures(score: Document) -> list[tuple[str, str, str]]:
    rows = f"on {counted(score['n'], 'test row')}"
    bounds = f"95 % interval {points(score['low'])} to {points(score['high'])}"
    return [
        ("Baseline", f"{score['baseline']:.2f}", rows),
        ("Winner", f"{score['winner']:.2f}", rows),
        ("Difference", points(score["difference"]), f"points, {bounds}"),
        ("Chance", p_value_in_words(score["p_value"]), "of such a difference between equal prompts"),
        ("Rows", f"+{score['gained']} / −{score['lost']}", "gained and lost by the winner"),
    ]


def _search_figures(best: Document) -> list[tuple[str, str, str]]:
    found = best.get("search_score")
    if not found or found["mean"] is None:
        return []
    return [("Winner in the search", f"{found['mean']:.2f}", f"on {counted(found['n'], 'val row')} it was chosen by")]


def _notes(score: Document) -> list[str]:
    doubt = disagreement_in_words(score)
    notes = [*([doubt] if doubt else []), power_in_words(score)]
    return [unknown_in_words(score), *notes] if score.get("excluded") else notes
