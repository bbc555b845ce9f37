"""The part of the results screen that says why: honest about noise, whole at every width, silent where it must be."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from mipro_walk.cli.explanations_screen import render_explanations
from mipro_walk.cli.results_screen import render
from tests.cli.scripted_backend import documents, explanations

HOSTILE = "[/red]a\x1b[2J\x1b]52;c;eA==\x07\u202e\u200b\ud800"


def shown(document: dict[str, Any], width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    render_explanations(document, Console(file=stream, width=width, highlight=False, emoji=False, markup=False))
    return raw.getvalue().decode(encoding)


def line_with(text: str, word: str) -> str:
    (line,) = [line for line in text.splitlines() if word in line]
    return " ".join(line.split())


def test_four_prompts_stand_with_bar_score_and_difference_and_noise_is_called_noise() -> None:
    text = shown(explanations())
    assert line_with(text, "  baseline   ") == "baseline █░░░░░░░░░░░ 0.12"
    assert line_with(text, "instruction only").endswith("0.20 +8 (-7 to +23), within noise")
    assert line_with(text, "demonstrations only").endswith("██████░░░░░░ 0.50 +38 (+23 to +53)")
    assert "All four on the same 40 test rows; 1 left out because an answer is unknown." in " ".join(text.split())


def test_a_skipped_ablation_and_an_unknown_importance_are_reasons_not_numbers() -> None:
    document = explanations(None)
    document["importance"] |= {"instruction": None, "demo_set": None, "reason": "12 candidates say nothing about it"}
    text = " ".join(shown(document, 200).split())
    assert "Instruction and demonstrations were not tried apart: there was no final test." in text
    assert "Importance in the search: not known: 12 candidates say nothing about it." in text
    assert "%" not in text
    assert "test rows" not in text


def test_importance_is_one_sentence_with_its_candidates() -> None:
    text = " ".join(shown(explanations(), 200).split())
    assert "instruction 10 %, demonstrations 90 % of what set the better half of 24 candidates apart" in text


def test_labels_gained_come_before_labels_lost_and_small_changes_are_called_noise() -> None:
    text = shown(explanations(), 120)
    assert line_with(text, "gained  card_arrival") == "gained card_arrival 0 → 11 of 13"
    assert line_with(text, "2 → 4").endswith("within noise")
    assert line_with(text, "lost  ").endswith("9 → 2 of 13")
    assert "pin_blocked" not in text  # did not change


def test_at_most_five_labels_each_way() -> None:
    document = explanations()
    document["labels"] = [
        {"label": f"label {i}", "n": 9, "baseline_right": 4, "winner_right": 4 + c, "change": c, "verdict": "better"}
        for i, c in enumerate([4, 3, 3, 2, 2, 1, -1, -2, -2, -3, -3, -4])
    ]
    names = re.findall(r"label \d+", shown(document))
    assert names == [f"label {i}" for i in (0, 1, 2, 3, 4, 11, 10, 9, 8, 7)]


def test_confused_pairs_show_both_counts_and_an_unreadable_answer() -> None:
    lines = [" ".join(line.split()) for line in shown(explanations(), 120).splitlines()]
    assert "card_arrival card_linking 11 2" in lines
    assert [line for line in lines if line.endswith("(no usable answer) 0 7")]


def test_rows_are_counted_and_three_of_each_are_shown() -> None:
    text = shown(explanations(query="Where is it?"), 120)
    assert "13 fixed, for example:" in text
    assert text.count("the baseline said card_linking") == 3
    assert '"Where is it? 0": card_arrival; the baseline said card_linking' in text
    assert "the winner says (no usable answer)" in text
    assert "Rows fixed and broken (of 98 test rows)" in text
    assert "2 further test rows left out because an answer is unknown." in text


def test_long_answers_are_cut_where_they_differ() -> None:
    document = explanations()
    start = '{"day": "Sunday", "time": "12:30", "person": '
    document["fixed"] = [{**document["fixed"][0], "label": start + '"May"}', "baseline": start + "null}"}]
    text = shown(document, 200)
    assert '…, "person": "May"}; the baseline said …, "person": null}' in text
    assert "..." in shown(document, 200, "ascii")
    document["fixed"][0]["baseline"] = '{"day": null}'
    assert '{"day": "Sunday"' in shown(document, 200)


def test_fractional_scores_say_what_right_means() -> None:
    figures = [{"name": "f1", "baseline": 0.1, "winner": 0.2, "n": 98}]
    text = " ".join(shown({**explanations(), "figures": figures}, 200).split())
    assert "Rows fixed and broken (of 98 test rows; right is a full score)" in text


@pytest.mark.parametrize("part", ["labels", "confusions", "test", "ablation", "importance"])
def test_a_part_that_does_not_apply_is_left_out(part: str) -> None:
    assert shown({**explanations(), part: None})


def test_nothing_to_explain_is_not_a_word() -> None:
    nothing = {"ablation": None, "importance": None, "test": None, "labels": None, "fixed": [], "broken": []}
    assert shown({**nothing, "confusions": {"baseline": [], "winner": []}}) == ""


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_wider_than_the_screen(width: int) -> None:
    long = explanations(query="Why was my card payment turned down at the shop this morning? " * 3)
    assert max(len(line.rstrip()) for line in shown(long, width).splitlines()) <= width


def test_an_ascii_terminal_gets_ascii() -> None:
    text = shown(explanations(query="Où est ma carte ?"), 80, "ascii")
    assert text.isascii()
    assert "#..........." in text
    assert "0 -> 11 of 13" in text


def test_foreign_text_is_shown_and_never_obeyed() -> None:
    document = explanations(query=HOSTILE)
    for row in (*document["labels"], *document["fixed"], *document["broken"]):
        row["label"] = HOSTILE
    document["confusions"]["winner"][0]["answered"] = HOSTILE
    document["importance"] |= {"instruction": None, "reason": HOSTILE}
    document["ablation"]["prompts"][1]["prompt"] = HOSTILE
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", shown(document, 200))
    document["ablation"]["skipped"] = HOSTILE
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", shown(document, 200))


def test_the_results_screen_explains_between_the_progression_and_the_cost() -> None:
    raw = io.StringIO()
    render(documents(), Console(file=raw, width=100, highlight=False, emoji=False, markup=False))
    text = raw.getvalue()
    assert text.index("Progression") < text.index("What helped") < text.index("What it took")
