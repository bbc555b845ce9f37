"""Each export is replayed: what it asks is compared with what the job asked, byte for byte where the form allows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest

from mipro_walk.exports.formats import FORMATS
from mipro_walk.prompting import answer_form_of, apply_candidate, candidate_messages
from mipro_walk.results.files import encode
from mipro_walk.results.usage import usage_in_python
from task_apps.banking77.prompts import BASELINE_INSTRUCTION, answer_form, own_messages
from tests.backend.conftest import scripted_answer
from tests.fakes.openai_server import Scripted, ScriptedOpenAI, find_labels

AT_LEAST = 20


def export(finished, name, choice="winner"):
    return FORMATS[name].make(finished.choose(choice))


def encoded(body) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("choice", ["winner", "baseline"])
def test_openai_request_is_what_the_job_sent_byte_for_byte(finished, choice):
    text = export(finished, "openai", choice)
    assert text.count("{query}") == 1
    rows = finished.test_rows()
    assert len(rows) >= AT_LEAST
    for query, _ in rows:
        # The way of somebody who has nothing but the file: put the query where the placeholder is.
        filled = text.replace("{query}", json.dumps(query, ensure_ascii=False)[1:-1])
        assert encoded(json.loads(filled)) == finished.sent(choice, query)


def test_openai_request_is_the_apps_question_with_the_candidate_in_it(finished):
    source = finished.choose("winner")
    mode = finished.documents["best_prompt.json"]["model"]["output_mode"]
    labels = find_labels(finished.requests[0].body)
    assert len(labels) == 10
    assert answer_form_of(source.request().body).labels == (() if mode == "text" else tuple(labels))
    question = {"messages": own_messages(mode, "Q", labels), **answer_form(mode, labels)}
    expected = apply_candidate(question, source.candidate, BASELINE_INSTRUCTION)
    filled = source.request().fill("Q")
    assert {name: filled[name] for name in expected} == expected
    assert set(filled) - set(expected) == {"model", "temperature", "max_completion_tokens"}


@pytest.mark.parametrize("way", ["arguments", "stdin"])
def test_python_program_sends_the_same_bytes_and_prints_the_labels(finished, tmp_path, way):
    program = tmp_path / "classify.py"
    program.write_text(export(finished, "python"), encoding="utf-8")
    queries = [query for query, _ in finished.test_rows()]
    with ScriptedOpenAI(answer=scripted_answer) as model:
        done = run_program(program, model, queries, way)
        assert [request.raw for request in model.requests] == [finished.sent("winner", query) for query in queries]
    answers = {(r["split"], r["query"]): r["predicted"] for r in rollouts_of(finished, "winner")}
    assert done.stdout.splitlines() == [answers["test", query] for query in queries]


def run_program(program, model, queries, way):
    environ = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
    return subprocess.run(
        [sys.executable, "-W", "error", str(program), *(queries if way == "arguments" else [])],
        input="\n".join(queries) if way == "stdin" else "",
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=180,
    )


def rollouts_of(finished, choice):
    key = finished.documents["job_metadata.json"][f"{choice}_key"]
    lines = [json.loads(line) for line in export(finished, "rollouts").splitlines()]
    return [line for line in lines if [line["instruction"], line["demo_set"]] == key]


def test_python_program_says_which_query_has_no_answer(finish, tmp_path):
    finished = finish("tool_calls")
    program = tmp_path / "classify.py"
    program.write_text(export(finished, "python"), encoding="utf-8")

    def answer(body):
        if body["messages"][-1]["content"] == "bad":
            return Scripted(message={"role": "assistant", "content": "no idea"})
        return "fine"

    with ScriptedOpenAI(answer=answer) as model, pytest.raises(subprocess.CalledProcessError) as failed:
        run_program(program, model, ["good", "bad", "good"], "arguments")
    assert failed.value.returncode == 1
    assert failed.value.stdout == "fine\n\nfine\n"
    assert "no label" in failed.value.stderr


def test_lines_on_the_results_screen_ask_for_the_same_answer_form(finished, tmp_path):
    best = finished.documents["best_prompt.json"]
    path = tmp_path / "best_prompt.json"
    path.write_bytes(encode(best))
    program = tmp_path / "shown.py"
    program.write_text("\n".join(usage_in_python(best, path)), encoding="utf-8")
    with ScriptedOpenAI(answer=scripted_answer) as model:
        run_program(program, model, [], "arguments")
        (body,) = model.bodies
    assert body == finished.choose("recommended").request().fill("Where is my card?")


def test_langchain_prompt_makes_the_messages_that_the_job_sent(finished):
    load = pytest.importorskip("langchain_core.load", reason="langchain-core is not installed")
    from langchain_core.messages import convert_to_openai_messages

    prompt = loads(load, export(finished, "langchain"))
    rest = prompt.metadata["request"]
    for query, _ in finished.test_rows():
        messages = convert_to_openai_messages(prompt.invoke({"query": query}).to_messages())
        for message in messages:
            if message.get("tool_calls"):  # LangChain has no message without content
                assert message["content"] == ""
                message["content"] = None
        sent = json.loads(finished.sent("winner", query))
        assert {**rest, "messages": messages} == sent


def loads(load, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its loader says that it is beta
        return load.loads(text, allowed_objects="core")


def test_texts_hold_the_prompt(finished):
    candidate = finished.choose("winner").candidate
    text, page = export(finished, "text"), export(finished, "markdown")
    for message in candidate_messages(candidate):
        assert f"[{message['role']}]\n{message['content']}" in text
    assert candidate.instruction in page
    for demo in candidate.demos:
        assert f"{demo.query}\n=> {demo.label}" in page
    score = finished.documents["best_prompt.json"]["score"]
    assert f"{score['winner']:.3f} on {score['n']} unseen test rows" in page
