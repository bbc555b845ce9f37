"""compare.html: what it shows, that it is one safe file, and that equal documents give equal bytes."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser

import pytest

from mipro_walk.comparison.document import methods_document
from mipro_walk.comparison.files import write_comparison
from mipro_walk.comparison.jobs import jobs_document
from mipro_walk.comparison.methods import METHODS
from mipro_walk.comparison.runs import MissingRun
from mipro_walk.errors import PrerequisiteError
from mipro_walk.report.comparison_page import render_comparison
from mipro_walk.types import Candidate
from tests.comparison.conftest import make_run
from tests.comparison.test_document import SETTING
from tests.comparison.test_jobs import make_job

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e{{ 7*7 }}"


def document(*runs, missing=()):
    return methods_document(SETTING, [METHODS[n] for n in ("mipro", "gepa", "random", "baseline")], runs, missing)


def usual():
    runs = [make_run(rng_seed=seed) for seed in range(3)] + [make_run("random", rng_seed=seed) for seed in range(3)]
    return document(*runs, make_run("baseline", trace=((0, "x"),), rollouts=0))


class Text(HTMLParser):
    """Collects what is seen, and the tags."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def seen(self):
        return " ".join(" ".join(self.words).split())


def test_the_page_says_what_the_document_says():
    found = usual()
    seen = Text(render_comparison(found)).seen
    for pair in found["pairs"]:
        assert pair["words"] in seen
    assert "Scores on the same 8 test rows" in seen
    assert "Which got there with fewer calls?" in seen
    assert "words per sentence" in seen
    assert "MIPRO, rng seed 2 → random search, rng seed 2" in seen


def test_equal_documents_give_equal_bytes():
    assert render_comparison(usual()) == render_comparison(copy.deepcopy(usual()))


def test_the_page_loads_nothing_and_runs_nothing():
    page = render_comparison(usual())
    tags = Text(page).tags
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert not [tag for tag, _ in tags if tag in ("script", "img", "link", "iframe", "object")]
    assert not [attrs for _, attrs in tags if "style" in attrs or any(name.startswith("on") for name in attrs)]
    assert not re.search(r"(?:src|href)=\"(?!#)", page)


def test_what_comes_from_outside_is_shown_and_never_obeyed():
    found = document(make_run(winner=Candidate(EVIL)), missing=[MissingRun("random", 0, EVIL, failed=True)])
    found |= {"task": EVIL, "data": {"source": EVIL, "rows": {}}, "models": {"policy": {"model": EVIL}}}
    found["entries"][0]["title"] = EVIL
    page = render_comparison(found)
    text = Text(page)
    assert not [tag for tag, _ in text.tags if tag in ("script", "img")]
    assert "<script>alert(1)</script>" in text.seen
    assert "{{ 7*7 }}" in text.seen
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_an_unpaired_comparison_draws_no_difference():
    found = jobs_document(make_job("pl_a"), make_job("pl_b", test=60))
    seen = Text(render_comparison(found)).seen
    assert "Not paired: they were tested on different rows (100 and 60)" in seen
    assert "not decided here" in seen
    assert "each on its own rows" in seen
    assert "Differences with their intervals" not in render_comparison(found)


def test_two_paired_jobs_have_a_page_too():
    found = jobs_document(make_job("pl_a"), make_job("pl_b", optimize_demos=False, num_demos=0))
    seen = Text(render_comparison(found)).seen
    assert "pl_a scored higher than pl_b" in seen
    assert "pl_a → pl_b" in seen


@pytest.mark.parametrize("runs", [(), (make_run(),), (make_run("baseline", trace=((0, "x"),), rollouts=0, val={}),)])
def test_a_page_without_much_to_show_says_so(runs):
    missing = [MissingRun("gepa", 0, "the package is not installed", failed=True)]
    seen = Text(render_comparison(document(*runs, missing=missing))).seen
    assert "GEPA: 1 of 1 runs left out" in seen
    assert "is not installed" in seen


def test_a_folder_that_cannot_be_made_is_an_error_with_a_fix(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PrerequisiteError, match="cannot be made"):
        write_comparison(tmp_path / "file" / "results", usual())
