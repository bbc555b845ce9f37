"""compare.html in a real browser: both sizes, both schemes, no complaint, no request, nothing inaccessible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mipro_walk.comparison.document import methods_document
from mipro_walk.comparison.files import PAGE, write_comparison
from mipro_walk.comparison.jobs import jobs_document
from mipro_walk.comparison.methods import METHODS
from tests.browser.conftest import DESKTOP, PHONE
from tests.comparison.conftest import make_run
from tests.comparison.test_document import SETTING
from tests.comparison.test_jobs import make_job


def methods():
    names = ("mipro", "gepa", "random", "demos-only")
    runs = [make_run(name, rng_seed) for name in names for rng_seed in range(3)]
    last = make_run("baseline", trace=((0, runs[0].trace[0][1]),), rollouts=0)
    setting = replace(SETTING, task="a_task_whose_name_is_longer_than_any_line_of_a_phone_can_hold")
    return methods_document(setting, list(METHODS.values()), [*runs, last], ())


def jobs():
    return jobs_document(make_job("pl_0123456789abcdef"), make_job("pl_fedcba9876543210", test=60))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("make", [methods, jobs], ids=["methods", "jobs"])
def test_the_page_works_offline_in_every_look(tmp_path, open_page, make, scheme, size):
    write_comparison(tmp_path, make())
    visit = open_page(size, scheme, offline=True)
    page = visit.open(tmp_path / PAGE)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert visit.complaints == []
    assert visit.requests == [(tmp_path / PAGE).as_uri()]
    assert visit.overflow() <= 0
    assert visit.accessibility_problems() == []


def test_names_in_charts_are_whole(tmp_path, open_page):
    write_comparison(tmp_path, methods())
    page = open_page().open(tmp_path / PAGE)
    cut = page.evaluate(
        """[...document.querySelectorAll('.chart svg text')].filter(text => {
            const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
            return inner.left < outer.left - 1 || inner.right > outer.right + 1;
        }).map(text => text.textContent)"""
    )
    assert cut == []


def test_the_differences_of_prompts_open_by_keyboard(tmp_path, open_page):
    write_comparison(tmp_path, methods())
    page = open_page().open(tmp_path / PAGE)
    summary = page.locator("summary", has_text="MIPRO, rng seed 0: its prompt")
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.locator("..").locator("ins").first.is_visible()
