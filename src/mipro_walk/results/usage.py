"""A program that asks the model with the recommended prompt, to copy from the screen or from the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOCAL_URL = "http://127.0.0.1:8003/v1"
LOCAL_KEY_VARIABLE = "MIPRO_WALK_LOCAL_MODEL_KEY"


def usage_in_python(best: Mapping[str, Any], path: object) -> list[str]:
    """Return the lines of the program, at most eight; ``path`` is where ``best_prompt.json`` lies.

    It asks as the test did; of results that do not hold the tested request, with the texts alone.
    """
    model = best.get("model") or {}
    client = {
        "groq": 'OpenAI(base_url="https://api.groq.com/openai/v1", api_key=os.environ["GROQ_API_KEY"])',
        "local": f'OpenAI(base_url="{LOCAL_URL}", api_key=os.environ["{LOCAL_KEY_VARIABLE}"])',
        "custom": 'OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ.get("API_KEY", "none"))',
    }.get(str(model.get("provider")), "OpenAI()")
    start = [
        "import json, os",
        "from openai import OpenAI",
        f"best = json.load(open({str(path)!r}, encoding='utf-8'))",
        f"query = {_sample_query(best)!r}",
    ]
    if best.get("request"):
        return [
            *start,
            "body, mark = (best['request'][name] for name in ('body', 'placeholder'))",
            "asked = json.dumps(body).replace(mark, json.dumps(query)[1:-1])",
            f"client = {client}",
            "print(client.chat.completions.create(**json.loads(asked)).choices[0].message)",
        ]
    return [
        *start,
        "messages = [*best['messages'][:-1], {'role': 'user', 'content': query}]",
        f"client = {client}",
        "answer = client.chat.completions.create(model=best['model']['model'], messages=messages)",
        "print(answer.choices[0].message.content)",
    ]


def _sample_query(best: Mapping[str, Any]) -> str:
    is_banking = str(best.get("task")).startswith("banking77")
    return "Where is my card?" if is_banking else "your text"


def usage_title(best: Mapping[str, Any]) -> str:
    """Say beside the program what it leaves out: the test constrained the answer, the program does not."""
    title = "Use it in Python (pip install openai)"
    mode = (best.get("model") or {}).get("output_mode", "text")
    if mode == "text" or best.get("request"):
        return f"{title}:"
    form = "as JSON by schema" if mode == "structured" else "by a forced tool call"
    return f"{title}; the test asked {form}, so ask that way, too, where only known labels may come:"


def local_server_command() -> str:
    """Return the command that serves the local model for the program."""
    return f"export {LOCAL_KEY_VARIABLE}=a-key-of-your-choice; mipro-walk model serve"
