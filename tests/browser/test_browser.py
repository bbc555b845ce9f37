"""The browser fixture sees what a page should not do; were it blind, every test of a page would pass."""

from __future__ import annotations

from tests.browser.conftest import PHONE


def test_dialogs_requests_and_complaints_are_seen(open_page, tmp_path):
    path = tmp_path / "bad.html"
    (tmp_path / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    path.write_text(
        '<!doctype html><html lang="en"><title>bad</title><img src="picture.svg" alt="">'
        '<script>alert("hello"); console.error("oh"); undefinedFunction()</script>'
    )
    visit = open_page()
    visit.open(path)
    assert visit.dialogs == ["hello"]
    assert len(visit.complaints) == 2
    assert len(visit.requests) == 2


def test_accessibility_problems_and_overflow_are_seen(open_page, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text('<!doctype html><title>bad</title><pre>a</pre><img src="data:,"><p style="width: 900px">wide</p>')
    visit = open_page(PHONE)
    visit.open(path)
    assert {problem.split(":")[0] for problem in visit.accessibility_problems()} == {"html-has-lang", "image-alt"}
    assert visit.overflow() > 0
