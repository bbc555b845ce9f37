"""``report.html`` in a real browser: it shows everything, sends nothing, and nothing that came with the data runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.report.files import write_report
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.cli.scripted_backend import documents
from tests.report.runs import finished_run, large_run

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "</style><script>alert(3)</script>",
    "<img src=x onerror=alert(4)>",
    "<img src=http://127.0.0.1:9/leak.png>",
    "<svg onload=alert(5)><set attributeName=onmouseover to=alert(6)>",
    "</title></text></svg><script>alert(7)</script>",
    '" onmouseover=alert(8) autofocus onfocus=alert(9) x="',
    "' style='background:url(http://127.0.0.1:9/css)' x='",
    "javascript:alert(10)",
    "<a href=javascript:alert(11)>click</a>",
    "<iframe srcdoc='<script>alert(12)</script>'></iframe>",
    "<object data=data:text/html,<script>alert(13)</script>></object>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button autofocus>",
    "{{7*7}}{% for x in y %}${7*7}<%= 7*7 %>{#",
    "]]><![CDATA[<script>alert(14)</script>",
    "&lt;script&gt;alert(15)&lt;/script&gt;&#60;img src=x onerror=alert(16)&#62;",
    "<noscript><p title='</noscript><img src=x onerror=alert(17)>'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(18)>",
    "--><!--<script>alert(19)//-->",
    "\u202egnp.exe\u200b\x00\x1b]8;;http://127.0.0.1:9\x07",
)
STRUCTURAL = ("kind", "verdict", "recommendation", "status", "split")


def poisoned(value: Any, payloads: Iterator[str], name: str = "") -> Any:
    """Return a document with a payload for every text, keys of mappings that people name included."""
    if isinstance(value, str):
        return value if name in STRUCTURAL else next(payloads)
    if isinstance(value, list):
        return [poisoned(member, payloads, name) for member in value]
    if isinstance(value, dict):
        return {
            next(payloads) if name in ("refused", "versions") else key: poisoned(member, payloads, key)
            for key, member in value.items()
        }
    return value


def opened(visit: Visit, path: Path, run: Any) -> Visit:
    write_report(path, run)
    visit.open(path)
    return visit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


def test_the_report_opens_without_a_complaint_and_asks_for_nothing_but_itself(open_page, path):
    visit = opened(open_page(), path, finished_run())
    assert (visit.complaints, visit.dialogs, visit.requests) == ([], [], [path.as_uri()])
    assert visit.page.locator(".verdict").inner_text().startswith("Better: +")
    assert visit.page.locator("figure.chart svg[role=img]").count() >= 5


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 6))
def test_nothing_that_came_with_the_data_runs_or_leaves(open_page, path, start):
    payloads = cycle(PAYLOADS[start:] + PAYLOADS[:start])
    run = {name: poisoned(document, payloads) for name, document in finished_run().items()}
    visit = opened(open_page(), path, run)
    page = visit.page
    page.evaluate("document.querySelectorAll('details').forEach(element => { element.open = true })")
    page.mouse.move(300, 300)
    page.keyboard.press("Tab")
    assert (visit.complaints, visit.dialogs, visit.requests) == ([], [], [path.as_uri()])
    assert page.locator("script").count() == 1
    assert page.locator("iframe, img, object, embed, form, base, link, [style], a:not([href^='#'])").count() == 0
    assert page.evaluate("document.querySelectorAll('*').length") == page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => ![...e.attributes].some(a => a.name.startsWith('on'))).length"
    )
    # They are shown as what they are, not dropped.
    text = page.evaluate("document.body.innerText")
    assert sum(payload in text for payload in PAYLOADS) > 15


def test_the_policy_stops_what_would_have_slipped_through(open_page, path):
    visit = opened(open_page(), path, finished_run())
    visit.page.evaluate(
        """document.body.insertAdjacentHTML('beforeend',
        '<img src="http://127.0.0.1:9/x.png" onerror="alert(1)"><p id="styled" style="color: rgb(1, 2, 3)">x</p>')"""
    )
    visit.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(2)'}))")
    assert visit.dialogs == []
    assert visit.page.evaluate("getComputedStyle(document.querySelector('#styled')).color") != "rgb(1, 2, 3)"
    assert len(visit.complaints) >= 3
    assert all("Content Security Policy" in complaint for complaint in visit.complaints)


def test_rows_are_found_by_their_words(open_page, path):
    page = opened(open_page(), path, documents(query="Where is my card?")).page
    rows, seen = page.locator("li.row"), page.locator("li.row:visible")
    assert seen.count() == rows.count() == 14
    page.get_by_label("Show rows with").fill("Where 12")
    assert seen.count() == 1
    assert page.locator("#row-filter-count").inner_text() == "1 of 14 rows"
    page.get_by_label("Show rows with").fill("CHEQUE")
    assert "balance_not_updated" in seen.first.inner_text()
    page.get_by_label("Show rows with").fill("")
    assert seen.count() == 14


def test_everything_is_there_without_script(open_page, path):
    page = opened(open_page(java_script_enabled=False), path, finished_run()).page
    run = finished_run()["explanations.json"]
    assert page.locator("li.row:visible").count() == len(run["fixed"]) + len(run["broken"])
    assert page.get_by_label("Show rows with").is_hidden()
    page.get_by_text("trials as a table").click()
    assert page.get_by_role("columnheader", name="own score").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("verdict", ["better", "worse", "no significant gain", None])
def test_accessible_and_no_wider_than_the_window(open_page, path, scheme, size, verdict):
    visit = opened(open_page(size, scheme), path, documents(verdict))
    visit.page.evaluate("document.querySelectorAll('details').forEach(element => { element.open = true })")
    assert visit.accessibility_problems() == []
    assert visit.overflow() <= 0


def test_long_words_widen_no_page(open_page, path):
    run = finished_run()
    long = "unbroken" * 60
    run["best_prompt.json"]["task"] = run["best_prompt.json"]["winner"]["instruction"] = long
    run["explanations.json"]["labels"][0]["label"] = run["explanations.json"]["fixed"][0]["query"] = long
    assert opened(open_page(PHONE), path, run).overflow() <= 0


def test_charts_take_the_colours_of_the_scheme(open_page, path):
    def color(scheme: str) -> str:
        page = opened(open_page(scheme=scheme), path, finished_run()).page
        return page.evaluate("getComputedStyle(document.querySelector('.chart svg text')).fill")

    light, dark = color("light"), color("dark")
    assert light != dark
    assert "rgb(0, 0, 0)" not in (light, dark)  # what an unknown variable would give


def test_the_keyboard_reaches_contents_filter_and_details(open_page, path):
    page = opened(open_page(), path, finished_run()).page
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.id"))
    assert {"A ", "INPUT row-filter-text", "SUMMARY "} <= reached


def test_it_prints_on_white_without_controls(open_page, path):
    visit = opened(open_page((794, 1123), scheme="dark"), path, finished_run())
    page = visit.page
    page.emulate_media(media="print")
    assert visit.overflow() <= 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#row-filter").is_hidden()
    assert page.locator(".contents").is_hidden()
    assert page.pdf().startswith(b"%PDF")


def test_a_thousand_trials_open_without_a_complaint(open_page, path):
    visit = opened(open_page(), path, large_run())
    assert (visit.complaints, visit.requests) == ([], [path.as_uri()])
    assert visit.page.locator("svg title").count() > 1500
    assert visit.overflow() <= 0
