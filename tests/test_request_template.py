"""A request as a template: what is put in comes out again, and what cannot be told is not guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro_walk.request_template import QueryNotShownError, RequestTemplate, make_template

TEXT = st.text(max_size=30) | st.sampled_from(["{query}", "{query_1}", "{{7*7}}", '"""', "a\nb", "{", "'\\"])


def body_about(query: str, before: str = "", after: str = "", system: str = "Name it.") -> dict:
    question = {"role": "user", "content": f"{before}{query}{after}"}
    return {"model": "m", "messages": [{"role": "system", "content": system}, question], "temperature": 0.0}


@given(first=TEXT, second=TEXT, before=TEXT, after=TEXT, system=TEXT)
def test_template_of_one_query_gives_the_request_about_another(first, second, before, after, system):
    try:
        template = make_template(body_about(first, before, after, system), first)
    except QueryNotShownError:
        raise AssertionError("the query is there") from None
    if template is None:  # the app's own words hold the query, too
        assert not first or f"{before}{first}{after}".count(first) != 1
        return
    assert json.dumps(template.fill(second)) == json.dumps(body_about(second, before, after, system))
    assert RequestTemplate.from_dict(json.loads(json.dumps(template.as_dict()))) == template


@given(first=TEXT.filter(bool), second=TEXT.filter(bool), system=TEXT)
def test_rows_that_differ_in_the_query_only_have_one_template(first, second, system):
    made = [make_template(body_about(query, "<<", ">>", system), query) for query in (first, second)]
    if None not in made:
        assert made[0] == made[1]


def test_placeholder_is_one_that_no_text_holds():
    template = make_template(body_about("where", system="Fill {query} and {query_1}."), "where")
    assert template is not None
    assert template.placeholder == "{query_2}"


def test_demonstration_with_the_same_text_is_not_the_question():
    turns = [{"role": "user", "content": "where"}, {"role": "assistant", "content": "card"}]
    body = body_about("where")
    body["messages"][1:1] = turns
    template = make_template(body, "where")
    assert template is not None
    assert [m["content"] for m in template.fill("when")["messages"]] == ["Name it.", "where", "card", "when"]


def test_question_in_parts_keeps_its_parts():
    parts = [{"type": "text", "text": "Message: where"}, {"type": "text", "text": "Answer."}]
    template = make_template({"messages": [{"role": "user", "content": parts}]}, "where")
    assert template is not None
    assert template.fill("x")["messages"][0]["content"] == [{**parts[0], "text": "Message: x"}, parts[1]]


def test_request_without_the_query_has_no_template():
    with pytest.raises(QueryNotShownError):
        make_template(body_about("WHERE"), "where")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"body": {"messages": []}, "placeholder": "{query}"},
        {"body": {"messages": ["{query}", "{query}"]}, "placeholder": "{query}"},
        {"body": {"messages": "{query}"}, "placeholder": "{query}"},
        {"body": {"messages": ["{query}"]}, "placeholder": ""},
    ],
)
def test_damaged_template_is_refused(document):
    with pytest.raises(ValueError, match="request"):
        RequestTemplate.from_dict(document)
