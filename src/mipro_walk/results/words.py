"""The outcome of a run in words, for the screen and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.counting import agreeing, counted

BestPrompt = Mapping[str, Any]
"""A ``best_prompt.json``."""
LEAST_RATED = 5
"""Fewer answers may well deserve the same rating."""


def points(difference: float) -> str:
    """Return a difference of scores in points with its sign: 0.43 is ``+43``."""
    value = round(difference * 100)
    return f"{value:+d}" if value else "0"


def verdict_in_words(best: BestPrompt, *, is_ascii: bool = False) -> str:
    """Return the outcome of the final test with its numbers, or that there was none."""
    score = best.get("score")
    if score is None:
        return _untested(best)
    if score["n"] == 0:
        return f"Not decided: no pair of test answers is known ({score['excluded']} left out), so nothing was measured."
    arrow = "->" if is_ascii else "→"
    change = (
        f"{score['baseline']:.2f} {arrow} {score['winner']:.2f} on {counted(score['n'], 'unseen test row')}, "
        f"{points(score['difference'])} points (95 % interval {points(score['low'])} to {points(score['high'])}), "
        f"{p_value_in_words(score['p_value'])}"
    )
    return f"{headline(score)}: {change}."


def headline(score: Mapping[str, Any]) -> str:
    """Return the verdict of a test score that stands on rows."""
    if score["verdict"] == "better":
        return "Better"
    return "Worse" if score["verdict"] == "worse" else "No significant gain"


def p_value_in_words(p: float) -> str:
    """Return a p-value to three places."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def disagreement_in_words(score: Mapping[str, Any]) -> str | None:
    """Return why a test whose interval leaves zero out, or whose p is small, shows no gain; ``None`` if it agrees."""
    if score["verdict"] != "no significant gain":
        return None
    if score["low"] > 0 or score["high"] < 0:
        return "The interval leaves 0 out, but p is not below 0.05; a verdict needs both."
    if score["p_value"] < 0.05:
        return "p is below 0.05, but the interval holds 0; a verdict needs both."
    return None


def _untested(best: BestPrompt) -> str:
    found = best.get("search_score")
    start = "Not tested: no unseen rows were scored, so whether this prompt is better is not known."
    if not found or found["mean"] is None:
        return start
    return (
        f"{start} In the search it scored {found['mean']:.2f} on {counted(found['n'], 'val row')}, a flattering number."
    )


def unknown_in_words(score: Mapping[str, Any]) -> str:
    """Return what rows without two answers could change: both views of the interval."""
    bounds = f"{points(score['cautious_low'])} to {points(score['cautious_high'])}"
    left_out = f"{counted(score['excluded'], 'test row')} {agreeing(score['excluded'], 'is', 'are')} left out"
    text = (
        f"{left_out} because a call failed. Had they all gone against the new prompt, or all for it, the interval "
        f"would reach from {bounds}"
    )
    return text + ("; they could turn the verdict." if score["could_turn"] else ".")


def power_in_words(score: Mapping[str, Any]) -> str:
    """Return which differences this many rows can show, and how many rows a difference as measured would need."""
    text = (
        f"Four times in five, {counted(score['n'], 'row')} {agreeing(score['n'], 'shows', 'show')} a difference of "
        f"{points(score['detectable_difference']).lstrip('+')} points"
    )
    if score["verdict"] == "no significant gain" and score.get("rows_needed"):
        return f"{text}; one of {points(abs(score['difference'])).lstrip('+')} needs about {score['rows_needed']:,}."
    return f"{text}."


def judge_in_words(judge: Mapping[str, Any]) -> str:
    """Return how far the judge agrees with itself."""
    if not judge["rated_twice"]:
        return "The judge rated no answer twice, so its noise is not known."
    twice = counted(judge["rated_twice"], "answer")
    return (
        f"Judge's noise: {twice} rated twice, {judge['same']} of them the same both times; the "
        f"mean difference is {judge['mean_difference']:.2f} and the largest {judge['largest_difference']:.2f} on the "
        "scale of scores (0 to 1). Gains near that size may be noise."
    )


def indifference_in_words(judge: Mapping[str, Any] | None) -> str:
    """Return that the judge of an ``explanations.json`` gave every answer the same rating; empty if it did not.

    A judge that never differs agrees with itself perfectly, so its noise alone would speak for it.
    """
    if not judge or judge.get("only_score") is None or judge["rated"] < LEAST_RATED:
        return ""
    return (
        f"The judge rated all {judge['rated']} answers alike (score {judge['only_score']:.2f}). Either they are "
        "equally good or it cannot tell them apart: these scores say nothing of either prompt. Look at some answers "
        "yourself, sharpen the rubric, or take a stronger judge."
    )


def recommendation_in_words(best: BestPrompt) -> str:
    """Return which of the two prompts to use, and why."""
    pinned = best.get("pinned")
    if pinned and not pinned["holds"]:
        return f"Keep the baseline: {pinned_in_words(pinned)}."
    if best["recommendation"] == "winner":
        words = "Use the prompt that was found."
        if best.get("score") is None:
            words += " Test it on rows of your own first."
        return f"{words} Every pinned row holds ({pinned['n']})." if pinned else words
    if best.get("score") and best["score"]["verdict"] == "worse":
        return "Keep the baseline: the prompt that was found does worse on unseen rows."
    return "Keep the baseline: what was found is not shown to be better, and the baseline is simpler."


def pinned_in_words(pinned: Mapping[str, Any]) -> str:
    """Return why a winner is not recommended because of pinned rows."""
    broken, unknown = len(pinned["broken"]), len(pinned["unknown"])
    if broken:
        return f"the prompt that was found does worse on {broken} of {counted(pinned['n'], 'pinned row')}"
    return f"{unknown} of {counted(pinned['n'], 'pinned row')} could not be checked, because a call failed"
