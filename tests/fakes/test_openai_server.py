"""The scripted endpoint itself: a test that trusts a wrong fake proves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.openai_server import DEFAULT_KEY, Scripted, ScriptedOpenAI, keyword_answer

TOOL: Any = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"intent": {"enum": ["a", "b"]}}}},
}
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {"name": "f", "schema": TOOL["function"]["parameters"]},
}
ASK: Any = {"model": "m", "messages": [{"role": "user", "content": "which?"}]}


def test_the_openai_client_reads_its_answers_in_every_form() -> None:
    with ScriptedOpenAI(lambda _body: "a") as server, openai.OpenAI(base_url=server.base_url, api_key=server.key) as c:
        plain = c.chat.completions.create(**ASK)
        tool = c.chat.completions.create(**ASK, tools=[TOOL], tool_choice="required")
        structured = c.chat.completions.create(**ASK, response_format=SCHEMA)
    assert plain.choices[0].message.content == "a"
    assert plain.usage is not None
    [call] = tool.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"intent": "a"}
    assert structured.choices[0].message.content == '{"intent": "a"}'


@pytest.mark.parametrize(
    ("scripted", "error"),
    [
        (Scripted.error(500), openai.InternalServerError),
        (Scripted.rate_limited("0"), openai.RateLimitError),
        (Scripted.out_of_quota(), openai.RateLimitError),
        (Scripted.context_too_long(), openai.BadRequestError),
        (Scripted.unknown_model(), openai.NotFoundError),
    ],
)
def test_the_openai_client_reads_its_errors(scripted: Scripted, error: type[Exception]) -> None:
    with (
        ScriptedOpenAI(lambda _body: scripted) as server,
        openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client,
        pytest.raises(error),
    ):
        client.chat.completions.create(**ASK)


def test_a_wrong_key_is_refused_and_no_key_is_kept() -> None:
    with ScriptedOpenAI() as server:
        for key in (server.key, "sk-wrong"):
            httpx.post(f"{server.base_url}/chat/completions", json=ASK, headers={"Authorization": f"Bearer {key}"})
    assert [request.authorized for request in server.requests] == [True, False]
    assert "sk-" not in repr(server.requests)


def test_a_script_that_fails_fails_the_test() -> None:
    def broken(_body: Any) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ScriptedOpenAI(broken) as server:
        httpx.post(f"{server.base_url}/chat/completions", json=ASK, headers={"Authorization": f"Bearer {server.key}"})


def test_prompts_differ_in_how_well_they_do_and_always_do_the_same() -> None:
    truth = {f"query {n}": "ab"[n % 2] for n in range(200)}

    def right(system: str) -> int:
        messages = [{"role": "system", "content": system}]
        bodies = [{"messages": [*messages, {"role": "user", "content": query}], "tools": [TOOL]} for query in truth]
        return sum(keyword_answer(body, truth) == truth[body["messages"][-1]["content"]] for body in bodies)

    scores = [right(f"Instruction {n}") for n in range(12)]
    assert scores == [right(f"Instruction {n}") for n in range(12)]
    assert max(scores) - min(scores) > 20


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.fakes.openai_server", "--script", "keyword"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        ready, url = process.stdout.readline().split()
        headers = {"Authorization": f"Bearer {DEFAULT_KEY}"}
        answer = httpx.post(f"{url}/chat/completions", json={**ASK, "tools": [TOOL]}, headers=headers, trust_env=False)
        process.terminate()
    assert ready == "ready"
    assert answer.json()["choices"][0]["message"]["content"] in ("a", "b")
