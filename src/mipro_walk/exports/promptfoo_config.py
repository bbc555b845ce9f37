"""``promptfoo``: a configuration whose prompt, provider and tests ask as the final test did.

promptfoo reads every text as a Nunjucks template and values like ``file://...`` as files. So braces of the prompt are
written as template expressions, and each test's query and label as JSON text, which the templates read with ``load``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.exports.source import ExportSource, clean
from mipro_walk.prompting import answer_form_of
from mipro_walk.request_template import RequestTemplate
from mipro_walk.results.names import EXPLANATIONS

BRACE = re.compile(r"[{}]")
"""The opening one begins a tag; the closing one, behind ``#``, is an error to Nunjucks."""
QUERY = "{{ query | load }}"
READS_ENVIRONMENT = re.compile(r"\{\{[^}]*\benv\b")
ANSWER = (
    "((o) => (Array.isArray(o) ? JSON.parse(o[0].function.arguments) : typeof o === 'string' ? JSON.parse(o) : o)"
    "[{key}])(output)"
)


def promptfoo_config(source: ExportSource) -> str:
    """Return the configuration as JSON, which is YAML, too."""
    template = source.request()
    tests = _tests(source)
    document = {
        "description": f"The {source.name} prompt of mipro-walk on {counted(len(tests), 'test row')}",
        "prompts": [{"label": source.name, "raw": _prompt(template)}],
        "providers": [_provider(template.body)],
        "defaultTest": {"assert": [{"type": "javascript", "value": _check(template.body)}]},
        "tests": tests,
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _prompt(template: RequestTemplate) -> str:
    """Return the messages as JSON text, each text in it a Nunjucks template."""
    return json.dumps(_escaped(template.body["messages"], template.placeholder), ensure_ascii=False, indent=1)


def _escaped(value: object, placeholder: str) -> object:
    if isinstance(value, str):
        return QUERY.join(BRACE.sub(r"{{ '\g<0>' }}", part) for part in value.split(placeholder))
    if isinstance(value, dict):
        return {name: _escaped(item, placeholder) for name, item in value.items()}
    return [_escaped(item, placeholder) for item in value] if isinstance(value, list) else value


def _provider(body: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
    if READS_ENVIRONMENT.search(json.dumps(rest, ensure_ascii=False)):
        raise ConfigError(
            "The answer's form holds text that promptfoo would replace by variables of the environment.",
            "Use openai or python, or rename that label.",
        )
    return {"id": f"openai:chat:{body['model']}", "config": {"omitDefaults": True, "passthrough": rest}}


def _check(body: Mapping[str, Any]) -> str:
    key = answer_form_of(body).key
    answer = "String(output).trim()" if key is None else ANSWER.replace("{key}", _json_text(key))
    return f"{answer} === JSON.parse(context.vars.label)"


def _tests(source: ExportSource) -> list[dict[str, Any]]:
    rows: list[tuple[str, str]] = []
    if source.recorded is not None:
        rows = [(row.query, row.label) for row in source.recorded.rows.get("test", ())]
    if not rows:
        told = source.documents.get(EXPLANATIONS, {})
        rows = [(row["query"], row["label"]) for name in ("fixed", "broken") for row in told.get(name) or []]
    return [{"vars": {"query": _json_text(clean(query)), "label": _json_text(clean(label))}} for query, label in rows]


def _json_text(text: str) -> str:
    """Return a text as JSON in which no template can begin."""
    return json.dumps(text, ensure_ascii=False).replace("{", "\\u007b").replace("}", "\\u007d")
