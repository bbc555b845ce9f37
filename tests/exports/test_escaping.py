"""No text changes what an export is: quotes, braces, templates and broken characters come out as they went in."""

from __future__ import annotations

import ast
import json
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipro_walk.clients.replies import without_surrogates
from mipro_walk.errors import ConfigError
from mipro_walk.exports.formats import FORMATS
from mipro_walk.types import Candidate
from tests.exports.made import CANDIDATES, MODES, TEXTS, made_source, request_about


def clean(text):
    return without_surrogates(text)


@given(candidate=CANDIDATES, mode=MODES, wrapper=TEXTS, query=TEXTS)
@settings(deadline=None)
def test_openai_request_is_the_one_that_would_be_sent(candidate, mode, wrapper, query):
    source = made_source(candidate, mode, wrapper)
    placeholder = source.request().placeholder
    text = FORMATS["openai"].make(source)
    assert text.count(placeholder) == 1
    filled = text.replace(placeholder, json.dumps(clean(query), ensure_ascii=False)[1:-1])
    assert json.loads(filled.encode()) == request_about(query, candidate, mode, wrapper)


@given(candidate=CANDIDATES, mode=MODES, wrapper=TEXTS, query=TEXTS)
@settings(deadline=None)
def test_python_program_makes_the_request_that_would_be_sent(candidate, mode, wrapper, query):
    program = FORMATS["python"].make(made_source(candidate, mode, wrapper))
    tree = ast.parse(program.encode())
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign)}
    assert set(values) == {"PLACEHOLDER", "LABEL_KEY", "REQUEST"}
    assert values["LABEL_KEY"] == (None if mode == "text" else "intent")
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    # Only that function, so that no import and no call of the program runs here.
    scope = dict(values)
    exec(compile(ast.Module([functions["request_for"]], []), "program", "exec"), scope)
    assert scope["request_for"](query) == request_about(query, candidate, mode, wrapper)


@given(first=CANDIDATES, second=CANDIDATES)
@settings(deadline=None, max_examples=30)
def test_python_program_differs_only_in_its_literals(first, second):
    def skeleton(candidate):
        tree = ast.parse(FORMATS["python"].make(made_source(candidate, "text")))
        return [ast.dump(node) for node in tree.body if not isinstance(node, ast.Assign)]

    assert skeleton(first) == skeleton(second)


@given(candidate=CANDIDATES, mode=MODES, wrapper=TEXTS, query=TEXTS)
@settings(deadline=None)
def test_langchain_template_makes_the_messages_that_would_be_sent(candidate, mode, wrapper, query):
    load = pytest.importorskip("langchain_core.load", reason="langchain-core is not installed")
    from langchain_core.messages import convert_to_openai_messages

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prompt = load.loads(FORMATS["langchain"].make(made_source(candidate, mode, wrapper)), allowed_objects="core")
    messages = convert_to_openai_messages(prompt.invoke({"query": clean(query)}).to_messages())
    sent = request_about(query, candidate, mode, wrapper)
    for message in [m for m in messages if m.get("tool_calls")]:
        message["content"] = None
    assert {**prompt.metadata["request"], "messages": messages} == sent


@given(candidate=CANDIDATES, mode=MODES)
@settings(deadline=None)
def test_dspy_state_holds_every_text(candidate, mode):
    state = json.loads(FORMATS["dspy"].make(made_source(candidate, mode)).encode())
    assert state["demos"] == [{"query": clean(d.query), "label": clean(d.label)} for d in candidate.demos]
    assert state["signature"]["instructions"].startswith(clean(candidate.instruction))


def nunjucks(template: str, values: dict[str, str]) -> str:
    """Render the two expressions that the export writes; whatever else could open a tag is a mistake."""

    def value(match: re.Match[str]) -> str:
        return json.loads(values["query"]) if match[1].startswith("query") else match[1][1]

    expressions = r"\{\{ ('[{}]'|query \| load) \}\}"
    assert not re.search("[{}]", re.sub(expressions, "", template))
    return re.sub(expressions, value, template)


def rendered(part, values):
    if isinstance(part, str):
        return nunjucks(part, values)
    if isinstance(part, dict):
        return {name: rendered(item, values) for name, item in part.items()}
    return [rendered(item, values) for item in part] if isinstance(part, list) else part


@given(candidate=CANDIDATES, mode=MODES, wrapper=TEXTS, query=TEXTS, label=TEXTS)
@settings(deadline=None)
def test_promptfoo_renders_the_messages_that_would_be_sent(candidate, mode, wrapper, query, label):
    try:
        config = json.loads(
            FORMATS["promptfoo"].make(made_source(candidate, mode, wrapper, ((query, label),))).encode()
        )
    except ConfigError:  # a label that promptfoo would replace
        assert any("env" in demo.label for demo in candidate.demos)
        return
    ((prompt,), (provider,), (test,)) = config["prompts"], config["providers"], config["tests"]
    values = test["vars"]
    for text in values.values():
        assert not re.search(r"\{|^\w+:", text)  # neither a template nor a file
    assert json.loads(values["label"]) == clean(label)
    messages = rendered(json.loads(prompt["raw"]), values)
    sent = request_about(query, candidate, mode, wrapper)
    assert {"model": provider["id"].removeprefix("openai:chat:"), "messages": messages} | provider["config"][
        "passthrough"
    ] == sent
    assert "{{" not in config["defaultTest"]["assert"][0]["value"]


@given(candidate=CANDIDATES)
@settings(deadline=None)
def test_texts_hold_every_text(candidate):
    source = made_source(candidate, "text")
    text, page = (FORMATS[name].make(source).encode().decode() for name in ("text", "markdown"))
    for part in (candidate.instruction, *(d.query for d in candidate.demos), *(d.label for d in candidate.demos)):
        assert clean(part) in text
        assert clean(part) in page


@given(text=st.text(alphabet="`a\n", max_size=12))
def test_no_text_ends_its_block_in_markdown(text):
    page = FORMATS["markdown"].make(made_source(Candidate(text), "text"))
    fence = re.search(r"^(`+)text$", page, re.MULTILINE)
    assert fence is not None
    block = page[fence.end() + 1 :]
    assert block.index(f"\n{fence[1]}\n") == len(text)
