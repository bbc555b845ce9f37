"""The report as one HTML page: a view over the result documents, and nothing else.

The page loads nothing and sends nothing: its policy allows one stylesheet and one script, both inline and named by
their hash, so nothing that came with the data can run. Equal documents give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.report.text import MAX_QUERY, plain, shortened
from mipro_walk.results.names import BEST_PROMPT, EXPLANATIONS, JOB_METADATA, SCORE_HISTORY
from mipro_walk.results.words import indifference_in_words

if TYPE_CHECKING:
    from jinja2 import Environment

Documents = Mapping[str, Mapping[str, Any]]
TITLES = {
    "verdict": "Verdict",
    "search": "Search",
    "why": "Why",
    "rows": "Rows",
    "prompts": "Prompts",
    "cost": "Cost",
    "use": "How to use it",
    "details": "Details",
}


def render_report(documents: Documents) -> str:
    """Return ``report.html`` of a run.

    Args:
        documents: the result documents by file name. ``best_prompt.json`` has to be there; without another one the
            parts of the page that need it are left out.

    Raises:
        ConfigError: the documents are not those of a finished run.
        MiproWalkError: a chart cannot be drawn.
    """
    if BEST_PROMPT not in documents:
        raise ConfigError(f"There is no {BEST_PROMPT}, so there is nothing to report.", "Finish the job first.")
    try:
        parts = _parts(plain(documents))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise ConfigError(
            f"The result documents are incomplete or damaged: {type(exc).__name__}: {exc}.",
            "Take them from the job again: mipro-walk report ID",
        ) from exc
    style, script = asset("style.css"), asset("templates/filter.js") if "rows" in parts else ""
    page = environment().get_template("report.html.j2")
    contents = [(anchor, title) for anchor, title in TITLES.items() if anchor in parts]
    return page.render(parts, contents=contents, style=style, script=script, policy=policy(style, script))


def policy(style: str, script: str = "") -> str:
    """Return the content security policy that allows exactly this inline stylesheet and script."""
    allowed = ["default-src 'none'", f"style-src '{_hash(style)}'"]
    if script:
        allowed.append(f"script-src '{_hash(script)}'")
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'"])


@cache
def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("mipro_walk.report").joinpath(name).read_text(encoding="utf-8")


def _parts(documents: Documents) -> dict[str, Any]:
    """Return what each section shows, by its anchor."""
    from mipro_walk.report.sections.evolution import evolution
    from mipro_walk.report.sections.run import cost, details, prompts, run, use
    from mipro_walk.report.sections.search import search
    from mipro_walk.report.sections.verdict import verdict
    from mipro_walk.report.sections.why import changed_rows, why

    best = documents[BEST_PROMPT]
    history, metadata = documents.get(SCORE_HISTORY) or {}, documents.get(JOB_METADATA) or {}
    explanations = documents.get(EXPLANATIONS)
    doubt = indifference_in_words((explanations or {}).get("judge"))
    warnings = [*([doubt] if doubt else []), *(metadata.get("warnings") or [])]
    parts: dict[str, Any] = {
        "run": run(best, metadata),
        "warnings": [shortened(text, MAX_QUERY) for text in warnings],
        "verdict": verdict(best),
        "prompts": prompts(best),
        "use": use(best, metadata),
    }
    if history:
        parts["search"] = evolution(history) if history.get("algorithm") == "gepa" else search(history)
    if explanations:
        parts |= {"why": why(explanations), "rows": changed_rows(explanations)}
    if metadata:
        parts |= {"cost": cost(history, metadata), "details": details(history, metadata)}
    return parts


@cache
def environment() -> Environment:
    """Return what renders the templates of every page: autoescaped, and a missing value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mipro_walk.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    return environment


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
