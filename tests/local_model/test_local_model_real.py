"""The real model: fetched into a cache folder, served by a real process, asked by the OpenAI client.

Skipped, with the reason, where the package ``xllamacpp`` or the weights cannot be had.
``MIPRO_WALK_TEST_MODEL_DIR`` names a folder that may hold the weights already.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.local_model import WEIGHTS, find, pull

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")

KEY = "real-model-key"
LABELS = ["lost_card", "card_arrival", "exchange_rate"]
START_SECONDS = 60


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("MIPRO_WALK_TEST_MODEL_DIR")
    folder = Path(named) if named else tmp_path_factory.mktemp("models")
    try:
        pull(folder)
    except PrerequisiteError as exc:
        pytest.skip(f"the weights cannot be had here: {exc.message}")
    return folder


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "mipro_walk.local_model", "--port", "0", *arguments]
    environment = {**os.environ, "MIPRO_WALK_LOCAL_MODEL_KEY": KEY}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().split()
        assert line[:1] == ["ready"], process.communicate(timeout=START_SECONDS)[1]
        yield process, line[1]
    finally:
        process.kill()
        process.communicate(timeout=START_SECONDS)


@pytest.fixture(scope="module")
def url(cache_dir: Path) -> Iterator[str]:
    with running("--cache-dir", str(cache_dir), "--threads", "1") as (_process, address):
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60) as opened:
        yield opened


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_a_text_answer_comes_with_exact_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="any", messages=[user("Say hello.")], max_tokens=8)
    assert answer.model == WEIGHTS.filename
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_shared_prefix_is_cached_and_counted(client: openai.OpenAI) -> None:
    system: Any = {"role": "system", "content": "Answer with one word. " * 20}
    for text in ("red", "blue"):
        answer = client.chat.completions.create(model="any", messages=[system, user(text)], max_tokens=2)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens_details.cached_tokens or 0) > 80


def test_prompts_that_take_turns_stay_cached(client: openai.OpenAI) -> None:
    cached = []
    for text in ("red", "blue"):
        for order in ("Answer with one word. ", "Rate what follows from 1 to 5. "):
            messages: list[Any] = [{"role": "system", "content": order * 20}, user(text)]
            answer = client.chat.completions.create(model="any", messages=messages, max_tokens=2)
            assert answer.usage is not None
            assert answer.usage.prompt_tokens_details is not None
            cached.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    assert min(cached[2:]) > 80


def test_a_forced_tool_is_called_with_an_allowed_value(client: openai.OpenAI) -> None:
    parameters = {
        "type": "object",
        "properties": {"intent": {"type": "string", "enum": LABELS}},
        "required": ["intent"],
    }
    function: Any = {"name": "classify", "description": "Classify.", "parameters": parameters}
    answer = client.chat.completions.create(
        model="any",
        messages=[user("I lost my card")],
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "classify"}},
        max_tokens=1,
        temperature=0,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments)["intent"] in LABELS
    assert answer.usage is not None
    assert answer.usage.completion_tokens < 10


class Classified(BaseModel):
    intent: Literal["lost_card", "card_arrival", "exchange_rate"]


def test_structured_output_parses(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="any", messages=[user("When will it arrive?")], response_format=Classified, temperature=0
    )
    parsed = answer.choices[0].message.parsed
    assert parsed is not None
    assert parsed.intent in LABELS


class Person(BaseModel):
    name: Literal["Ann", "Bob"]
    tall: bool


def test_a_schema_of_several_fields_is_obeyed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="any", messages=[user("Who?")], response_format=Person, temperature=0)
    assert answer.choices[0].message.parsed is not None


@pytest.mark.parametrize("value", ['say "hi"', "back\\slash", "two\nlines", "naïve 😀 café", "a]b|c", "tab\t\x01"])
def test_awkward_values_come_back_exactly(client: openai.OpenAI, value: str) -> None:
    schema: Any = {"name": "v", "schema": {"enum": [value]}}
    answer = client.chat.completions.create(
        model="any",
        messages=[user("Which?")],
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert json.loads(answer.choices[0].message.content or "") == value


def test_a_grammar_is_obeyed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any",
        messages=[user("Pick.")],
        max_tokens=20,
        extra_body={"grammar": 'root ::= "lost_card" | "exchange_rate"'},
    )
    assert answer.choices[0].message.content in {"lost_card", "exchange_rate"}


@pytest.mark.parametrize(
    "body",
    [
        {"grammar": "root ::= ((("},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}},
    ],
)
def test_a_senseless_grammar_or_schema_is_a_400(client: openai.OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="any", messages=[user("x")], extra_body=body)


def test_a_wrong_key_is_a_401(url: str) -> None:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="any", messages=[user("x")])


def test_a_prompt_longer_than_the_context_is_a_400_that_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="any", messages=[user("word " * 9000)], max_tokens=1)
    assert caught.value.code == "context_length_exceeded"
    assert re.search(r"\d{4} tokens", str(caught.value))


def test_no_other_door_of_the_process_answers(url: str) -> None:
    """xllamacpp opens a listener of its own: without its random key it answers no question."""
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    doors = {
        connection.laddr.port
        for child in psutil.Process().children()
        for connection in child.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert httpx.URL(url).port in doors
    for port in doors - {httpx.URL(url).port}:
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={"messages": [user("hi")]}, timeout=30)
        assert answer.status_code == 401


def test_a_damaged_model_file_is_replaced(cache_dir: Path, tmp_path: Path) -> None:
    damaged = tmp_path / WEIGHTS.filename
    damaged.write_bytes(b"GGUF" + bytes(WEIGHTS.size - 4))
    assert find(tmp_path) is None
    said: list[str] = []

    def copy(_weights: object, folder: Path) -> None:
        member = folder / WEIGHTS.member
        member.parent.mkdir()
        os.link(cache_dir / WEIGHTS.filename, member)

    try:
        pull(tmp_path, said.append, fetchers=[copy])
    except OSError as exc:
        pytest.skip(f"no hard link between the folders: {exc}")
    assert "damaged" in said[0]
    assert find(tmp_path) == damaged


def test_threads_are_measured_and_told_and_a_stop_removes_the_ready_file(cache_dir: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running("--cache-dir", str(cache_dir), "--ready-file", str(ready)) as (process, address):
        assert ready.read_text() == address + "\n"
        assert httpx.get(f"{address}/health").json()["threads"] >= 1
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=START_SECONDS)
        assert process.stderr is not None
        said = process.stderr.read()
    assert "measured fastest" in said
    assert "Traceback" not in said
    assert KEY not in said
    assert not ready.exists()


def test_a_broken_gguf_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    from mipro_walk.local_model.engine import LlamaEngine

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x03\0\0\0" + bytes(200))
    with pytest.raises(ConfigError, match="cannot load"):
        LlamaEngine(broken, threads=1)
