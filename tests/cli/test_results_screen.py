"""The results screen: what it says for every outcome, at every width, in every kind of terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mipro_walk.cli.results_screen import render
from mipro_walk.cli.visible import visible
from mipro_walk.results.usage import usage_in_python
from mipro_walk.results.words import verdict_in_words
from tests.cli.scripted_backend import JOB_ID, documents


def shown(found: dict[str, Any], width: int = 100, encoding: str = "utf-8", folder: Path | None = None) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    render(found, Console(file=stream, width=width, highlight=False, emoji=False, markup=False), folder=folder)
    return raw.getvalue().decode(encoding)


def test_a_better_prompt_is_told_with_its_numbers_first() -> None:
    assert verdict_in_words(documents("better")["best_prompt.json"]) == (
        "Better: 0.12 → 0.55 on 100 unseen test rows, +43 points (95 % interval +32 to +53), p < 0.001."
    )


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("better", ["Better: 0.12", "Use the prompt that was found."]),
        (
            "no significant gain",
            [
                "No significant gain: 0.40",
                "Keep the baseline",
                "show a difference of 15 points; one of 4 needs about 2,594.",
            ],
        ),
        ("worse", ["Worse: 0.55", "Keep the baseline: the prompt that was found does worse"]),
        (None, ["Not tested", "0.62 on 24 val rows", "Test it on rows of your own first."]),
    ],
)
def test_every_outcome_is_told_plainly(verdict: str | None, words: list[str]) -> None:
    text = " ".join(shown(documents(verdict), 200).split())
    for part in words:
        assert part in text


def test_a_test_that_measured_nothing_is_no_verdict() -> None:
    found = documents("no significant gain")
    found["best_prompt.json"]["score"].update(n=0, excluded=100)
    assert "Not decided" in shown(found)


def test_the_answers_come_in_the_order_in_which_people_ask() -> None:
    text = shown(documents())
    parts = ["Better:", "Recommended:", "Instruction (source:", "Demonstrations (3)", "Progression", "What it took"]
    places = [text.index(part) for part in [*parts, "What next"]]
    assert places == sorted(places)


def test_a_long_demonstration_list_is_cut_and_says_so() -> None:
    text = shown(documents(demos=20))
    assert "Where is my card? 11" in text
    assert "Where is my card? 12" not in text
    assert "… 8 more" in text


def test_no_demonstrations_is_said() -> None:
    assert "none: the instruction stands alone" in shown(documents(demos=0))


def test_cost_time_and_data_source_are_named() -> None:
    text = shown(documents())
    for part in ("98 of 100 to search", "300 to the policy model", "$0.00 (local model)", "2:51", "sample (shipped"):
        assert part in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("verdict", ["better", "no significant gain", "worse", None])
def test_nothing_but_lines_to_copy_is_wider_than_the_screen(width: int, verdict: str | None) -> None:
    text = shown(documents(verdict, demos=14), width)
    told = text.split("What next")[0]
    assert max(len(line.rstrip()) for line in told.splitlines()) <= width


@pytest.mark.parametrize("verdict", ["better", "no significant gain", "worse", None])
def test_an_ascii_terminal_gets_ascii(verdict: str | None) -> None:
    text = shown(documents(verdict, demos=14, query="Où est ma carte ?"), 80, "ascii")
    assert text.isascii()
    assert "\\xf9 est ma carte" in text


def test_only_some_of_the_documents_are_enough() -> None:
    assert "Better:" in shown({"best_prompt.json": documents()["best_prompt.json"]})


def test_the_next_steps_name_files_and_commands(tmp_path: Path) -> None:
    folder = tmp_path / "my results" / "results"
    folder.mkdir(parents=True)
    (folder.parent / "mipro_config.toml").write_text("")
    text = shown(documents(), 60, folder=folder)
    assert f"cat '{folder}/best_prompt.json'" in text  # not folded at 60 columns
    assert f"mipro-walk results {JOB_ID}" in text
    assert f"MIPRO_WALK_BUDGET=400 mipro-walk run --non-interactive --workdir '{folder.parent}'" in text


def test_a_project_is_searched_again_as_a_project(tmp_path: Path) -> None:
    folder = tmp_path / "my task" / "results"
    folder.mkdir(parents=True)
    for name in ("mipro_config.toml", "task.toml"):
        (folder.parent / name).write_text("")
    assert f"MIPRO_WALK_BUDGET=400 mipro-walk optimize '{folder.parent}'" in shown(documents(), 60, folder=folder)


@pytest.mark.parametrize(
    ("verdict", "numbers", "said"),
    [
        ("no significant gain", {"low": 0.01, "p_value": 0.075}, "p is not below 0.05; a verdict needs both"),
        ("no significant gain", {"high": -0.01, "p_value": 0.075}, "p is not below 0.05; a verdict needs both"),
        ("no significant gain", {"low": -0.01, "p_value": 0.04}, "but the interval holds 0; a verdict needs both"),
        ("no significant gain", {}, None),
        ("better", {}, None),
    ],
)
def test_interval_and_p_that_disagree_are_explained(verdict: str, numbers: dict[str, float], said: str | None) -> None:
    found = documents(verdict)
    found["best_prompt.json"]["score"].update(numbers)
    text = " ".join(shown(found, 120).split())
    assert said in text if said else "a verdict needs both" not in text


def test_the_python_lines_ask_a_question_that_fits_the_task() -> None:
    best = documents()["best_prompt.json"]
    assert "query = 'Where is my card?'" in usage_in_python(best, "best_prompt.json")
    assert "query = 'your text'" in usage_in_python({**best, "task": "tickets"}, "best_prompt.json")


@pytest.mark.parametrize("request_of_it", [None, {"body": {}, "placeholder": "{query}"}])
@pytest.mark.parametrize("provider", ["openai", "groq", "local", "custom"])
def test_the_python_lines_are_at_most_eight_and_compile(provider: str, request_of_it: Any) -> None:
    best = documents()["best_prompt.json"]
    best["request"] = request_of_it
    best["model"]["provider"] = provider
    lines = usage_in_python(best, Path("/a folder/it's/best_prompt.json"))
    assert len(lines) <= 8
    compile("\n".join(lines), "shown", "exec")


HOSTILE = "[/red][link=http://x]a\x1b[2J\x1b]52;c;eA==\x07\x9b31m\r\b\u202e\u200b\ud800"


def test_foreign_text_is_shown_and_never_obeyed() -> None:
    found = documents(query=HOSTILE)
    best = found["best_prompt.json"]
    best["instruction"]["content"] = HOSTILE
    best["winner"]["instruction_source"] = HOSTILE
    found["job_metadata.json"]["data"]["source"] = HOSTILE
    found["job_metadata.json"]["models"]["policy"]["model"] = HOSTILE
    text = shown(found, 200)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", text)
    assert "[/red][link=http://x]a\\x1b[2J" in text


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sampled_from(["utf-8", "ascii", "cp1252", "latin-1"]))
def test_no_text_can_act_on_a_terminal_or_fail_to_be_written(text: str, encoding: str) -> None:
    safe = visible(text, encoding)
    safe.encode(encoding)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", safe)


def test_rows_without_an_answer_are_told_with_what_they_could_change() -> None:
    found = documents("better")
    found["best_prompt.json"]["score"].update(excluded=6, cautious_low=-0.01, cautious_high=0.6, could_turn=True)
    text = " ".join(shown(found, 200).split())
    assert "6 test rows are left out because a call failed." in text
    assert "from -1 to +60; they could turn the verdict." in text
