"""The page as text: what stands on it, its policy, its size, and that equal documents give equal bytes."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from mipro_walk.errors import ConfigError
from mipro_walk.report.page import TITLES, render_report
from mipro_walk.results import BEST_PROMPT, DOCUMENT_NAMES, EXPLANATIONS, JOB_METADATA, SCORE_HISTORY
from tests.cli.scripted_backend import documents
from tests.report.runs import finished_gepa_run, finished_run, large_run

MAX_LARGE_BYTES = 1_500_000


class Reader(HTMLParser):
    """Reads a page: its elements with their attributes, its ids, and its text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self._skipping = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self._skipping = tag in ("style", "script")

    def handle_endtag(self, tag):
        self._skipping = False

    def handle_data(self, data):
        if not self._skipping:
            self.text += data


@pytest.fixture(scope="module")
def page():
    return render_report(finished_run())


def test_equal_documents_give_equal_bytes(page):
    assert render_report(finished_run()) == page


def test_a_run_of_gepa_is_told_in_its_own_words():
    run = finished_gepa_run()
    history, read = run[SCORE_HISTORY], Reader(render_report(run))
    steps, members = len(history["iterations"]), sum(1 for i in history["instructions"] if i["val"])
    assert f"{steps} steps wrote {len(history['instructions']) - 1} instructions" in read.text
    assert f"{members - 1} joined the starting one" in read.text
    assert f"All {steps} steps as a table" in read.text
    assert "accepted" in read.text
    for word in ("demo set", "rung", "start-up", "pooled", "Trial 1"):
        assert word not in read.text.partition("How did the search go?")[2].partition("</section>")[0].split("Cost")[0]


def test_checksums_and_the_order_of_documents_do_not_matter(page):
    run = finished_run()
    run[JOB_METADATA]["files"] = {"best_prompt.json": "0" * 64}
    assert render_report(dict(reversed(run.items()))) == page


def test_every_section_is_there_and_linked(page):
    read = Reader(page)
    assert [a.get("href") for tag, a in read.elements if tag == "a"][1 : len(TITLES) + 1] == [f"#{t}" for t in TITLES]
    assert set(TITLES) <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert all(str(a["href"])[1:] in read.ids for tag, a in read.elements if tag == "a")


def test_the_policy_names_exactly_the_inline_style_and_script(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    style, script = (re.search(f"<{tag}>(.*?)</{tag}>", page, re.S)[1] for tag in ("style", "script"))
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy.replace("&#39;", "'") == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert page.count("<script") == page.count("<style") == 1


def test_no_element_has_a_style_an_event_handler_or_an_address_outside_of_the_page(page):
    for tag, attributes in Reader(page).elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        assert not {"src", "srcset", "action", "data", "poster", "xlink:href"} & set(attributes), tag
        assert str(attributes.get("href", "#")).startswith("#"), tag
    assert not re.search(r"@import|url\(|javascript:", page)


def test_the_verdict_comes_first_with_n_interval_and_p():
    text = Reader(render_report(documents("better"))).text
    assert "Better: +43 points on 100 unseen rows" in text
    assert text.index("Better: +43") < text.index("How did the search go?")
    for part in ("0.12", "0.55", "95 % interval +32 to +53", "p < 0.001", "Use the prompt that was found."):
        assert part in text


@pytest.mark.parametrize(
    ("verdict", "headline", "tone"),
    [
        ("better", "Better: +43 points on 100 unseen rows", "is-good"),
        ("worse", "Worse: -20 points on 100 unseen rows", "is-bad"),
        ("no significant gain", "No significant gain: +4 points on 100 unseen rows", "is-neutral"),
        (None, "Not tested", "is-neutral"),
    ],
)
def test_each_verdict_is_told_in_words_and_colour(verdict, headline, tone):
    page = render_report(documents(verdict))
    assert f'<p class="verdict">{headline}</p>' in page
    assert f'<section class="card {tone}" id="verdict"' in page


def test_rows_that_measured_nothing_give_no_verdict():
    run = documents("better")
    run[BEST_PROMPT]["score"] |= {"n": 0, "excluded": 100}
    text = Reader(render_report(run)).text
    assert "Not decided" in text
    assert "nothing was measured" in text


def test_unknown_rows_give_the_cautious_view():
    run = documents("better")
    run[BEST_PROMPT]["score"] |= {"excluded": 9, "could_turn": True, "cautious_low": -0.02}
    text = Reader(render_report(run)).text
    assert "9 test rows are left out" in text
    assert "could turn the verdict" in text


def test_a_person_finds_every_answer(page):
    text = " ".join(Reader(page).text.split())
    run = finished_run()
    for part in (
        run[BEST_PROMPT]["winner"]["instruction"],
        run[BEST_PROMPT]["winner"]["demonstrations"][0]["query"],
        run[JOB_METADATA]["data"]["split_hash"],
        "sample: made up",
        "The label refund has no row in train.",
        "$0.0246",  # what it cost
        "forecast $0.0100",
        "best = json.load(open('best_prompt.json', encoding='utf-8'))",
        "mipro-walk report pl_0123456789abcdef",
        "mipro-walk export pl_0123456789abcdef --format python",
        "gpt-4o-mini",
        "0 to 29 (30 values)",
        "2 min 5 s",
    ):
        assert part in text


def test_every_trial_candidate_label_and_changed_row_stands_on_the_page_as_text(page):
    run = finished_run()
    read = Reader(page)
    explained = run[EXPLANATIONS]
    assert read.text.count("expected") >= len(explained["fixed"]) + len(explained["broken"])
    for row in explained["fixed"] + explained["broken"]:
        assert row["query"] in read.text
    assert f"All {len(run[SCORE_HISTORY]['iterations'])} trials as a table" in read.text


def test_an_unknown_price_is_not_zero():
    run = finished_run()
    run[JOB_METADATA]["usage"]["meta"]["cost_usd"] = None
    assert '<dd class="stat-value">unknown</dd>' in render_report(run)


@pytest.mark.parametrize("missing", sorted(set(DOCUMENT_NAMES) - {BEST_PROMPT}))
def test_a_page_is_made_without_any_one_of_the_other_documents(missing):
    run = finished_run()
    del run[missing]
    read = Reader(render_report(run))
    assert "verdict" in read.ids
    assert all(str(a["href"])[1:] in read.ids for tag, a in read.elements if tag == "a")


def test_documents_of_an_older_run_without_newer_keys_are_shown():
    assert "Better" in Reader(render_report(documents())).text
    assert "Not tested" in Reader(render_report({BEST_PROMPT: documents(None)[BEST_PROMPT]})).text


def test_documents_of_no_finished_run_are_refused():
    with pytest.raises(ConfigError, match=r"no best_prompt\.json"):
        render_report({})
    with pytest.raises(ConfigError, match="incomplete or damaged"):
        render_report({BEST_PROMPT: {"score": {"n": 3}}})


def test_invisible_characters_are_written_out():
    run = finished_run()
    run[BEST_PROMPT]["winner"]["instruction"] = "a\u202eb\x1b[31m\ud800\u200bc\x00"
    run[EXPLANATIONS]["labels"][0]["label"] = "\x00\x1b\ud800label\uffff\ufdd0"
    page = render_report(run)
    assert r"a\u202eb\x1b[31m\ud800\u200bc\x00" in page
    page.encode("utf-8")


def test_a_thousand_trials_stay_below_the_size_limit():
    run = large_run()
    assert len(run[SCORE_HISTORY]["iterations"]) == 1_000
    assert len(render_report(run).encode()) < MAX_LARGE_BYTES


def test_endless_texts_and_lists_are_shortened_and_say_so():
    run = finished_run()
    row = run[EXPLANATIONS]["fixed"][0]
    run[EXPLANATIONS]["fixed"] = [{**row, "query": "q" * 5_000, "seed": i} for i in range(3_000)]
    run[BEST_PROMPT]["winner"]["instruction"] = "word " * 200_000
    page = render_report(run)
    assert len(page.encode()) < MAX_LARGE_BYTES
    assert "explanations.json holds the other 2,500" in page
    assert "more characters)" in page
