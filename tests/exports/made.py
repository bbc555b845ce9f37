"""Documents of jobs that never ran, for texts that no data set holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from mipro_walk.exports.source import ExportSource, Recorded
from mipro_walk.prompting import apply_candidate
from mipro_walk.request_template import make_template
from mipro_walk.types import Candidate, Demonstration, Example
from task_apps.banking77.prompts import answer_form

NASTY = (
    "{query}",
    "{{7*7}}",
    "{{ env.OPENAI_API_KEY }}",
    "{% raw %}{% endraw %}",
    "{# gone #}",
    "{",
    "}}",
    '"""',
    "'''\\",
    "\\n\\u0041",
    "a\nb\r\nc\td",
    "file:///etc/passwd",
    "`````",
    "\N{RIGHT-TO-LEFT OVERRIDE}Käse \N{PILE OF POO}",
    "\ud800",
    "\x00\x1b[31m",
    "${HOME} $(id) %s %(x)s",
    '{"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}',
)
TEXTS = (
    st.text(max_size=20) | st.sampled_from(NASTY) | st.tuples(st.text(max_size=5), st.sampled_from(NASTY)).map("".join)
)
SENTINEL = "\N{SNOWMAN}q"
MODES = st.sampled_from(["tool_calls", "structured", "text"])


def wire(body: Any) -> Any:
    """Return a request as it reaches the model."""
    text = json.dumps(body, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def request_about(query: str, candidate: Candidate, mode: str, wrapper: str = "") -> dict[str, Any]:
    """Return the request that an app sends which puts ``wrapper`` before its query."""
    labels = sorted({demo.label for demo in candidate.demos} | {"other"})
    question = {
        "messages": [{"role": "system", "content": "BASE"}, {"role": "user", "content": SENTINEL}],
        **answer_form(mode, labels),
    }
    asked = apply_candidate(question, candidate, "BASE")
    asked["messages"][-1]["content"] = f"{wrapper}{query}"
    return wire({"model": "m", **asked, "temperature": 0.0, "max_completion_tokens": 64})


def made_source(
    candidate: Candidate, mode: str, wrapper: str = "", rows: tuple[tuple[str, str], ...] = ()
) -> ExportSource:
    """Return a source whose winner is ``candidate``."""
    template = make_template(request_about(SENTINEL, candidate, mode, wrapper), SENTINEL)
    assert template is not None
    winner = {
        "instruction": candidate.instruction,
        "demonstrations": [{"query": demo.query, "label": demo.label} for demo in candidate.demos],
        "request": template.as_dict(),
    }
    best = {"recommendation": "winner", "task": "t", "winner": winner, "baseline": {**winner, "demonstrations": []}}
    best |= {"score": None, "search_score": None, "model": {"model": "m", "output_mode": mode}}
    recorded = Recorded("c", {"test": [Example(i, q, label) for i, (q, label) in enumerate(rows)]}, {}, {})
    return ExportSource({"best_prompt.json": best}, "winner", recorded)


DEMOS = st.lists(st.builds(Demonstration, TEXTS, TEXTS), max_size=3).map(tuple)
CANDIDATES = st.builds(Candidate, TEXTS, DEMOS)
