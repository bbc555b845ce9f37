"""A chat request with its query left out: what a prompt really sends, for whoever wants to send the same.

Made of a request that reached the model, so nothing of it is guessed: model, parameters, the form in which the answer
is asked for, and the demonstrations as they stood there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mipro_walk.prompting import content_text

PLACEHOLDER = "{query}"


class QueryNotShownError(ValueError):
    """The request does not hold its query as it is, so another one cannot be put in its place."""


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """An OpenAI chat request in which ``placeholder`` stands once, where the query belongs.

    Raises:
        ValueError: it does not stand there exactly once.
    """

    body: Mapping[str, Any]
    placeholder: str

    def __post_init__(self) -> None:
        if not self.placeholder or sum(text.count(self.placeholder) for text in _strings(self.body)) != 1:
            raise ValueError(f"{self.placeholder!r} must stand exactly once in the request")

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RequestTemplate:
        """Read what :meth:`as_dict` gives. Raises ValueError if it is something else."""
        body, placeholder = document.get("body"), document.get("placeholder")
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not isinstance(placeholder, str):
            raise ValueError("a request has a body with messages and a placeholder")
        return cls(body, placeholder)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"body": dict(self.body), "placeholder": self.placeholder}

    def fill(self, query: str) -> dict[str, Any]:
        """Return the request about one query, its fields in the order in which they were sent."""
        filled = _mapped(self.body, lambda text: text.replace(self.placeholder, query))
        assert isinstance(filled, dict)
        return filled


def make_template(body: Mapping[str, Any], query: str) -> RequestTemplate | None:
    """Return the request about ``query`` as a template, ``None`` where it does not tell the query's place.

    The question is the last user message that holds the query. A query that stands there more than once (``a`` in
    ``Question: a``) may be part of the app's own words.

    Raises:
        QueryNotShownError: no user message holds the query.
    """
    messages = body["messages"]
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    shown = [i for i in users if query in content_text(messages[i].get("content"))]
    if not shown:
        raise QueryNotShownError(query)
    question = messages[shown[-1]]
    if not query or sum(text.count(query) for text in _strings(question.get("content"))) != 1:
        return None
    placeholder = _unused({**body, "messages": [m for i, m in enumerate(messages) if i != shown[-1]]}, question, query)
    content = _mapped(question["content"], lambda text: text.replace(query, placeholder))
    asked = [*messages[: shown[-1]], {**question, "content": content}, *messages[shown[-1] + 1 :]]
    return RequestTemplate({**body, "messages": asked}, placeholder)


def _unused(rest: Mapping[str, Any], question: Mapping[str, Any], query: str) -> str:
    """Return a placeholder that stands nowhere in the request, whatever the query is."""
    texts = [*_strings(rest), *(part for text in _strings(question) for part in text.split(query))]
    number, placeholder = 0, PLACEHOLDER
    while any(placeholder in text for text in texts):
        number += 1
        placeholder = f"{{query_{number}}}"
    return placeholder


def _strings(value: object) -> Iterator[str]:
    """Yield every text in plain data; names of fields are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _mapped(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, change) for name, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list) else value
