"""``dspy``: the state of ``dspy.Predict("query -> label")``, as its ``save`` writes it and its ``load`` reads it.

DSPy's adapter makes the request, so this carries the texts and not the bytes. Labels that a tool or a schema lists in
the test stand in the description of the output field here.
"""

from __future__ import annotations

import json
from typing import Any

from mipro_walk.errors import ConfigError
from mipro_walk.exports.source import ExportSource
from mipro_walk.prompting import INSTRUCTION_ROLES, answer_form_of, content_text


def dspy_state(source: ExportSource) -> str:
    """Return the state as JSON."""
    candidate = source.candidate
    instructions, labels = _as_asked(source)
    description = f"exactly one of: {', '.join(labels)}" if labels else "${label}"
    state: dict[str, Any] = {
        "traces": [],
        "train": [],
        "demos": [{"query": demo.query, "label": demo.label} for demo in candidate.demos],
        "signature": {
            "instructions": instructions,
            "fields": [
                {"prefix": "Query:", "description": "${query}"},
                {"prefix": "Label:", "description": description},
            ],
        },
        "lm": None,
        "metadata": {"dependency_versions": {}},
    }
    return json.dumps(state, ensure_ascii=False, indent=2) + "\n"


def _as_asked(source: ExportSource) -> tuple[str, tuple[str, ...]]:
    """Return the system text as it was sent (an app may list its labels there) and the labels of the answer's form."""
    try:
        body = source.request().body
    except ConfigError:
        return source.candidate.instruction, ()
    told = (content_text(m.get("content")) for m in body["messages"] if m.get("role") in INSTRUCTION_ROLES)
    return next(told, source.candidate.instruction), answer_form_of(body).labels
