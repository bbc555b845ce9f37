"""``python``: a program that asks the model as the test did and prints the label of each query.

All texts from outside stand in it as Python literals, whatever they hold; its docstring and comments are fixed.
"""

from __future__ import annotations

import pprint

from mipro_walk.exports.source import ExportSource
from mipro_walk.prompting import answer_form_of

WIDTH = 110
PROGRAM = '''"""Print the label of each query: python PROGRAM.py "one query" "another", or one query a line on stdin.

Needs `pip install openai`. OPENAI_API_KEY and OPENAI_BASE_URL come from the environment; the prompt was measured with
the model in REQUEST, so the base URL must be of a server that has it. A query without a usable answer prints an empty
line, says why on stderr and makes the exit code 1.
"""

import json
import os
import sys

from openai import OpenAI
from openai.types.chat import ChatCompletion

PLACEHOLDER = {placeholder}
LABEL_KEY = {key}
REQUEST = {request}


def request_for(query, part=REQUEST):
    """Return the request about one query; it is JSON, so a query may hold anything but lone surrogates."""
    if isinstance(part, str):
        return part.replace(PLACEHOLDER, query.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    if isinstance(part, dict):
        return {{name: request_for(query, value) for name, value in part.items()}}
    return [request_for(query, value) for value in part] if isinstance(part, list) else part


def label_of(completion):
    """Return the label in an answer. Raises an exception if there is none."""
    message = completion.choices[0].message
    text = message.tool_calls[0].function.arguments if message.tool_calls else message.content
    return str(json.loads(text)[LABEL_KEY]) if LABEL_KEY is not None else text.strip()


def main():
    """Ask about every query; return the exit code."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    queries = sys.argv[1:] or [line.rstrip("\\r\\n") for line in sys.stdin]
    client = OpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none", base_url=os.environ.get("OPENAI_BASE_URL"))
    failed = 0
    for query in queries:
        # Not client.chat.completions.create: it would put the fields into an order of its own.
        completion = client.post("/chat/completions", body=request_for(query), cast_to=ChatCompletion)
        try:
            label = label_of(completion)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            print("no label in the answer:", type(exc).__name__, file=sys.stderr)
            label, failed = "", 1
        print(label, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
'''


def python_program(source: ExportSource) -> str:
    """Return the program."""
    template = source.request()
    return PROGRAM.format(
        placeholder=repr(template.placeholder),
        key=repr(answer_form_of(template.body).key),
        request=pprint.pformat(dict(template.body), width=WIDTH, sort_dicts=False),
    )
