"""JUnit XML that every reader accepts, whatever a model or a data set says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipro_walk.results.junit import Case, junit_xml


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_gives_readable_xml(text: str) -> None:
    content = junit_xml(text, [Case("a", "failure", text, [text]), Case("b", "passed", text)], 1.5)
    root = ElementTree.fromstring(content)
    assert len(root.findall("./testsuite/testcase")) == 2


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\x08", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_comes_out_as_an_escape(text: str) -> None:
    root = ElementTree.fromstring(junit_xml("s", [Case("a", "error", text)], 0))
    error = root.find("./testsuite/testcase/error")
    assert error is not None
    assert (error.get("message") or "").startswith("\\x")


def test_markup_in_texts_stays_text() -> None:
    root = ElementTree.fromstring(junit_xml('s"<&>', [Case("a", "failure", "</failure><evil/>")], 0))
    assert root.find(".//evil") is None
    assert root[0].get("name") == 's"<&>'


def test_counts_are_told_by_kind() -> None:
    cases = [Case("a", "passed", ""), Case("b", "failure", ""), Case("c", "error", "")]
    root = ElementTree.fromstring(junit_xml("s", cases, 0.25))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "time")} == {
        "tests": "3", "failures": "1", "errors": "1", "time": "0.250",
    }  # fmt: skip
