"""Charts as they stand in a page: static, without styles, and nothing in them but what was drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from mipro_walk.report.charts import svg
from mipro_walk.report.charts.heat_map import cells, heat_map
from mipro_walk.report.charts.outcome import (
    MAX_LABELS,
    ablation,
    confusion,
    difference,
    hard_pairs,
    importance,
    label_changes,
)
from mipro_walk.report.charts.progression import progression
from tests.cli.scripted_backend import documents
from tests.report.runs import finished_run

HOSTILE = "<script>alert(1)</script>\" onload='x' ]]> &amp; {{7*7}}"


def charts(run) -> dict[str, str | None]:
    history, explained = run["score_history.json"], run["explanations.json"]
    return {
        "difference": difference(run["best_prompt.json"]["score"]),
        "progression": progression(history),
        "heat map": heat_map(history),
        "ablation": ablation(explained["ablation"]),
        "labels": label_changes(explained["labels"]),
        "confusion": confusion(hard_pairs(explained["confusions"])),
    }


@pytest.fixture(scope="module")
def drawn():
    return charts(finished_run())


def titles(chart: str) -> list[str]:
    return [title.text or "" for title in ElementTree.fromstring(chart).iter("title")]


def test_charts_hold_no_style_no_script_and_no_reference(drawn):
    for name, chart in drawn.items():
        elements = list(ElementTree.fromstring(chart).iter())
        assert {e.tag for e in elements} <= svg.ELEMENTS | {"circle", "title"}, name
        attributes = {attribute for e in elements for attribute in e.attrib}
        assert attributes <= svg.ATTRIBUTES | {"cx", "cy", "r", "role", "aria-label"}, name


def test_colours_are_variables_so_that_one_drawing_serves_light_and_dark(drawn):
    for name, chart in drawn.items():
        colors = set(re.findall(r'(?:fill|stroke)="([^"]*)"', chart)) - {"none"}
        assert colors, name
        assert all(re.fullmatch(r"var\(--[a-z0-9-]+\)", color) for color in colors), (name, colors)


def test_every_chart_says_what_it_shows(drawn):
    for name, chart in drawn.items():
        root = ElementTree.fromstring(chart)
        assert root.get("role") == "img", name
        assert len(root.get("aria-label") or "") > 20, name


def test_equal_documents_are_drawn_alike(drawn):
    assert charts(finished_run()) == drawn


def test_each_trial_can_be_pointed_at(drawn):
    trials = finished_run()["score_history.json"]["iterations"]
    found = titles(drawn["progression"])
    for place, trial in enumerate(trials, start=1):
        name = f"Trial {place} (I{trial['instruction']}, D{trial['demo_set']})"
        start = ", start-up" if trial["startup"] else ""
        assert f"{name}: own score {trial['minibatch_score']:.2f} (n={trial['num_seeds']}){start}" in found
        assert any(title.startswith(f"{name}: pooled {trial['estimate']:.2f} (") for title in found)
    assert sum("the winner of the search" in title for title in found) == 1


def test_each_candidate_is_a_cell_with_all_its_rows(drawn):
    history = finished_run()["score_history.json"]
    found = titles(drawn["heat map"])
    keys = {(t["instruction"], t["demo_set"]) for t in history["iterations"]}
    assert len(found) == len(keys) == len(cells(history))
    for cell in cells(history):
        rows = [
            t for t in history["iterations"] if (t["instruction"], t["demo_set"]) == (cell.instruction, cell.demo_set)
        ]
        assert cell.n == sum(t["num_seeds"] for t in rows)
        assert cell.estimate == rows[-1]["estimate"]


def test_trials_without_a_score_leave_the_others(drawn):
    history = documents()["score_history.json"]
    assert len(titles(progression(history))) == 10  # nine scores, one trial unknown, and the baseline
    assert progression({**history, "iterations": []}) is None
    assert heat_map({**history, "iterations": history["iterations"][:1]}) is None


def test_only_the_labels_that_moved_most_are_drawn():
    labels = [
        {"label": f"label {i}", "n": 9, "baseline_right": 9, "winner_right": 9, "change": 20 - i, "verdict": "-"}
        for i in range(41)
    ]
    found = titles(label_changes(labels))
    assert len(found) == 2 * MAX_LABELS
    assert (found[0].split(":")[0], found[-1].split(":")[0]) == ("label 0", "label 40")
    assert label_changes([{**label, "change": 0} for label in labels]) is None


def test_pairs_of_both_prompts_are_put_together_most_frequent_first():
    pairs = hard_pairs(documents()["explanations.json"]["confusions"])
    assert pairs == [
        ("card_arrival", "card_linking", 11, 2),
        ("balance_not_updated_after_cheque_or_cash_deposit", "(no usable answer)", 0, 7),
    ]


def test_importance_is_drawn_only_if_it_is_known():
    known = documents()["explanations.json"]["importance"]
    assert titles(importance(known)) == ["instruction: 10 %", "demonstrations: 90 %"]
    assert importance({**known, "instruction": None, "demo_set": None}) is None


def test_foreign_text_stays_text():
    labels = [{"label": HOSTILE, "n": 2, "baseline_right": 0, "winner_right": 2, "change": 2, "verdict": "better"}]
    chart = label_changes(labels)
    assert HOSTILE[:30] not in chart
    assert titles(chart) == [f"{HOSTILE}: 0 then 2 of 2 right"]


@pytest.mark.parametrize("odd", ["\uffff", "\ufffe", "\U0001f469\u200d\U0001f680", "漢字" * 60, "\u202e", "text-0", ""])
def test_no_character_of_a_label_reaches_the_native_library(odd):
    labels = [{"label": odd, "n": 2, "baseline_right": 0, "winner_right": 2, "change": 2, "verdict": "better"}]
    assert f"<title>{odd}: 0 then 2 of 2 right</title>" in label_changes(labels)


def test_labels_that_begin_alike_keep_bars_of_their_own():
    labels = [
        {"label": "x" * 80 + end, "n": 2, "baseline_right": 0, "winner_right": 2, "change": 2, "verdict": "better"}
        for end in "ab"
    ]
    assert len(titles(label_changes(labels))) == 2
