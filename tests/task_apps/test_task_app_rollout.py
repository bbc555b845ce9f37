"""`POST /rollout` end to end, against a model endpoint that follows a script."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.responses import RedirectResponse, Response

Post = Callable[..., httpx.Response]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of an answer that must not look like a score."""
    body = response.json()
    assert "metrics" not in body
    error: dict[str, Any] = body["detail"]["error"]
    return error


def label_of(client: httpx.Client, seed: int, split: str = "train") -> str:
    found: str = client.get("/task_info", params={"seed": seed, "split": split}).json()["task_metadata"]["label"]
    return found


def answer_with(model: Any, mode: str, kit: Any, label: str) -> None:
    intent = json.dumps({"intent": label})
    if mode == "tool_calls":
        model.says(None, tool_calls=[kit.tool_call(intent)])
    else:
        model.says(intent if mode == "structured" else label)


@pytest.mark.parametrize("mode", ["tool_calls", "structured", "text"])
def test_right_and_wrong_answers_score_in_every_mode(
    rollout: Post, client: httpx.Client, model: Any, kit: Any, mode: str
) -> None:
    right = label_of(client, 5)
    wrong = next(label for label in kit.labels if label != right)
    for label, reward, reason in [(right, 1.0, None), (wrong, 0.0, "wrong")]:
        answer_with(model, mode, kit, label)
        body = rollout(5, mode=mode).json()
        assert body["metrics"]["mean_return"] == body["metrics"]["outcome_score"] == reward
        assert body["metrics"]["episode_returns"] == [reward]
        step = body["trajectories"][0]["steps"][0]
        assert (step["reward"], step["done"], step["output_mode"]) == (reward, True, mode)
        assert (step["info"]["expected"], step["info"]["predicted"]) == (right, label)
        assert (step["info"]["correct"], step["info"]["reason"]) == (label == right, reason)


def test_answer_has_the_full_published_shape(rollout: Post) -> None:
    body = rollout(0).json()
    assert set(body) == {
        *("run_id", "trajectories", "metrics", "branches", "aborted", "ops_executed"),
        *("trace_correlation_id", "trace", "pipeline_metadata"),
    }
    assert {"env_id", "policy_id", "steps", "length", "inference_url", "final"} <= set(body["trajectories"][0])
    assert body["run_id"] == "run"
    assert body["metrics"]["num_steps"] == body["metrics"]["num_episodes"] == 1


def test_tool_mode_forces_one_tool_with_the_labels_and_lists_none_in_the_text(
    rollout: Post, model: Any, kit: Any
) -> None:
    rollout(0)
    body = model.seen[0].body
    function = body["tools"][0]["function"]
    assert sorted(function["parameters"]["properties"]["intent"]["enum"]) == sorted(kit.labels)
    assert body["tool_choice"] == {"type": "function", "function": {"name": function["name"]}}
    assert "Intents:" not in body["messages"][0]["content"]
    assert (body["temperature"], body["max_completion_tokens"], body["model"]) == (0.0, 64, "m")


def test_structured_mode_sends_a_strict_schema(rollout: Post, model: Any, kit: Any) -> None:
    rollout(0, output_mode="structured")
    schema = model.seen[0].body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert sorted(schema["schema"]["properties"]["intent"]["enum"]) == sorted(kit.labels)
    assert "tools" not in model.seen[0].body


def test_text_mode_lists_the_labels_behind_the_instruction(rollout: Post, client: httpx.Client, model: Any) -> None:
    rollout(0, mode="text")
    info = client.get("/task_info").json()
    system, user = model.seen[0].body["messages"]
    assert system["content"] == f"{info['prompt']['instruction']}\n\nIntents: {', '.join(info['labels'])}"
    assert user["content"] == client.get("/task_info?seed=0").json()["task_metadata"]["query"]
    assert not {"tools", "response_format"} & set(model.seen[0].body)


def test_split_pool_and_slice_choose_the_row(rollout: Post, client: httpx.Client, model: Any) -> None:
    rollout(2, env={"split": "test"})
    rollout(2, env={"pool": "test"})
    rollout(2, env={"split": "test", "num_intents": 2})
    queries = [seen.body["messages"][1]["content"] for seen in model.seen]
    whole = client.get("/task_info?seed=2&split=test").json()["task_metadata"]["query"]
    sliced = client.get("/task_info?seed=2&split=test&num_intents=2").json()["task_metadata"]["query"]
    assert queries == [whole, whole, sliced]
    assert len(model.seen[2].body["tools"][0]["function"]["parameters"]["properties"]["intent"]["enum"]) == 2


def test_query_string_stays_behind_the_path_and_names_the_trace(rollout: Post, model: Any) -> None:
    url = model.url + "/interceptor/v1/pl-1-t2/?cid=trace%2F1&b=2&b=1"
    body = rollout(0, inference_url=url).json()
    assert model.seen[0].target == "/interceptor/v1/pl-1-t2/chat/completions?cid=trace%2F1&b=2&b=1"
    assert body["trace_correlation_id"] == body["pipeline_metadata"]["trace_correlation_id"] == "trace/1"
    assert rollout(0, trace_correlation_id="mine").json()["trace_correlation_id"] == "mine"


def test_complete_address_is_not_extended(rollout: Post, model: Any) -> None:
    rollout(0, inference_url=model.url + "/v1/chat/completions")
    assert model.seen[0].target == "/v1/chat/completions"


def test_only_the_environment_key_travels_whatever_the_environment_holds(
    model: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from task_apps.banking77.app import create_app
    from task_apps.serving.settings import Settings

    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "canary-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer canary-2\nX-Extra: canary-3")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/canary-4")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    body = {
        "run_id": "r",
        "env": {"seed": 0},
        "policy": {"config": {"inference_url": model.url, "model": "m"}},
    }
    with kit.serve(create_app(Settings(kit.key), kit.make_data())) as url, httpx.Client(trust_env=False) as caller:
        answer = caller.post(f"{url}/rollout", json=body, headers={"X-API-Key": kit.key})
    assert answer.status_code == 200
    assert "canary" not in str(model.seen[0])
    assert model.seen[0].headers["x-api-key"] == kit.key
    assert model.seen[0].headers["authorization"] == "Bearer task-app"


def test_template_replaces_the_messages_and_is_filled_in_one_pass(
    rollout: Post, client: httpx.Client, model: Any
) -> None:
    messages = [
        {"role": "user", "pattern": "Q: {{ query }} {other} {0} {labels!r}", "order": 1},
        {"role": "system", "content": "One of {labels}. {{text}}", "order": 0},
    ]
    rollout(0, prompt_template={"messages": messages})
    sent = model.seen[0].body["messages"]
    query = client.get("/task_info?seed=0").json()["task_metadata"]["query"]
    labels = ", ".join(client.get("/task_info").json()["labels"])
    assert sent == [
        {"role": "system", "content": f"One of {labels}. {query}"},
        {"role": "user", "content": f"Q: {query} {{other}} {{0}} {{labels!r}}"},
    ]


def test_messages_replace_the_own_ones_too(rollout: Post, model: Any) -> None:
    rollout(0, messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "{query}"}])
    assert model.seen[0].body["messages"][0] == {"role": "system", "content": "S"}


@pytest.mark.parametrize(
    "config",
    [
        {"prompt_template": {}},
        {"prompt_template": {"messages": [{"role": "system", "content": "no placeholder"}]}},
        {"messages": []},
        {"messages": [{"role": "user", "content": "no placeholder"}]},
    ],
)
def test_prompt_without_the_query_is_refused_before_it_costs_a_call(
    rollout: Post, model: Any, config: dict[str, Any]
) -> None:
    response = rollout(0, **config)
    assert (response.status_code, error_of(response)["code"]) == (422, "invalid_prompt")
    assert model.seen == []


def test_null_temperature_is_left_out(rollout: Post, model: Any) -> None:
    rollout(0, temperature=None)
    assert "temperature" not in model.seen[0].body


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "127.0.0.1:80/v1",
        "http://",
        "http:///v1",
        "http://user:pw@127.0.0.1/v1",
        "http://127.0.0.1/v1#part",
        "http://127.0.0.1/v1\r\nX-Evil: 1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:abc/v1",
        "http://[::1/v1",
        "http://127.0.0.1/ü",
        "http://127.0.0.1\\@evil.example/",
    ],
)
def test_unusable_address_is_400(rollout: Post, model: Any, url: str | None) -> None:
    response = rollout(0, inference_url=url)
    assert (response.status_code, error_of(response)["code"]) == (400, "bad_inference_url")
    assert model.seen == []


def test_missing_model_is_400(rollout: Post) -> None:
    response = rollout(0, model=None)
    assert (response.status_code, error_of(response)["code"]) == (400, "missing_model")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"null", "body"),
        (b"[" * 100_000, "body"),
        (b'{"env": {"seed": 0}}', "run_id"),
        (b'{"run_id": "", "env": {"seed": 0}}', "run_id"),
        (b'{"run_id": "r", "env": {}}', "env.seed"),
        (b'{"run_id": "r", "env": {"seed": -1}}', "env.seed"),
        (b'{"run_id": "r", "env": {"seed": true}}', "env.seed"),
        (b'{"run_id": "r", "env": {"seed": "1"}}', "env.seed"),
        (b'{"run_id": "r", "env": {"seed": 0}, "policy": {"config": {"temperature": NaN}}}', "temperature"),
        (b'{"run_id": "r", "env": {"seed": 0}, "policy": {"output_mode": "poem"}}', "output_mode"),
        (b'{"run_id": "r", "env": {"seed": 0}, "safety": {"max_time_s": 0}}', "max_time_s"),
        (b'{"run_id": "\\ud800", "env": {"seed": 0}}', "body"),
        (b"\xff\xfe", "body"),
    ],
)
def test_bad_request_is_422_and_names_the_key(client: httpx.Client, body: bytes, named: str) -> None:
    response = client.post("/rollout", content=body)
    assert response.status_code == 422
    assert named in error_of(response)["message"]


@pytest.mark.parametrize(
    ("seed", "env"), [(24, {}), (16, {"split": "test"}), (0, {"split": "dev"}), (0, {"num_intents": 1})]
)
def test_seed_or_pool_out_of_range_is_422(rollout: Post, model: Any, seed: int, env: dict[str, Any]) -> None:
    assert rollout(seed, env=env).status_code == 422
    assert model.seen == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"content": None}, "no_answer"),
        ({"content": None, "refusal": "no"}, "no_answer"),
        ({"content": ""}, "no_answer"),
        ({"content": "card_arrival or exchange_rate"}, "ambiguous"),
        ({"content": "I am sorry"}, "unknown_label"),
        ({"content": "\ud800 \x00 \x1b[31m"}, "unknown_label"),
        ({"content": "x" * 1_000_000}, "unknown_label"),
        ({"content": '{"intent": '}, "not_json"),
        ({"content": 7}, "no_answer"),
        ({}, "no_answer"),
    ],
)
def test_unparsable_answer_is_a_zero_with_a_reason(
    rollout: Post, model: Any, kit: Any, message: dict[str, Any], reason: str
) -> None:
    reply = kit.raw_json({"choices": [{"message": message}]})
    model.answer = lambda _: reply
    response = rollout(0, mode="text")
    info = response.json()["trajectories"][0]["steps"][0]["info"]
    assert (response.status_code, info["reason"], info["predicted"]) == (200, reason, None)
    assert len(info["raw"]) <= 2_000


@pytest.mark.parametrize(
    "calls",
    [
        "none",
        [None, 3, {}, {"function": 3}],
        [{"function": {"name": "classify_intent", "arguments": None}}],
        [{"function": {"name": None, "arguments": "{}"}}],
        [{"function": {"name": "classify_intent", "arguments": '{"intent": "\\ud800\\u0000"}'}}],
        [{"function": {"name": "classify_intent", "arguments": "\ud800"}}],
    ],
)
def test_garbage_in_tool_calls_is_a_zero_and_no_crash(rollout: Post, model: Any, kit: Any, calls: Any) -> None:
    reply = kit.raw_json({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    model.answer = lambda _: reply
    response = rollout(0)
    assert response.status_code == 200
    assert response.json()["metrics"]["mean_return"] == 0.0


def test_arguments_sent_as_an_object_and_content_sent_in_parts_are_read(
    rollout: Post, client: httpx.Client, model: Any, kit: Any
) -> None:
    label = label_of(client, 0)
    model.says(None, tool_calls=[kit.tool_call({"intent": label})])
    assert rollout(0).json()["metrics"]["mean_return"] == 1.0
    parts = kit.raw_json({"choices": [{"message": {"content": [{"type": "text", "text": label}]}}]})
    model.answer = lambda _: parts
    assert rollout(0, mode="text").json()["metrics"]["mean_return"] == 1.0


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529])
def test_upstream_error_keeps_its_status_and_is_no_score(rollout: Post, model: Any, kit: Any, status: int) -> None:
    reply = kit.raw_json({"error": {"message": "busy " * 100, "code": "x"}}, status, {"Retry-After": "7"})
    model.answer = lambda _: reply
    response = rollout(0)
    error = error_of(response)
    assert response.status_code == error["upstream_status"] == status
    assert (error["code"], response.headers["retry-after"]) == ("upstream_error", "7")
    assert len(error["message"]) <= 240
    assert len(model.seen) == 1, "nothing may be retried here"


@pytest.mark.parametrize(
    "body", [b"", b"<html>\x1b[31m</html>", b"\xff\xfe", b"[" * 200_000, b'{"error": "text"}', b'{"error": {}}', b"[1]"]
)
def test_upstream_error_with_any_body_is_passed_on(rollout: Post, model: Any, body: bytes) -> None:
    model.answer = lambda _: Response(body, 503)
    response = rollout(0)
    assert response.status_code == 503
    assert "\x1b" not in error_of(response)["message"]


def test_upstream_error_that_quotes_our_key_is_redacted(rollout: Post, model: Any, kit: Any) -> None:
    text = "x" * 170 + kit.key
    reply = kit.raw_json({"error": {"message": text}}, 401)
    model.answer = lambda _: reply
    assert kit.key[:8] not in rollout(0).text


def test_odd_retry_after_is_dropped(rollout: Post, model: Any, kit: Any) -> None:
    reply = kit.raw_json({}, 429)
    reply.raw_headers.append((b"retry-after", b"\xff\xfe"))
    model.answer = lambda _: reply
    response = rollout(0)
    assert response.status_code == 429
    assert "retry-after" not in response.headers


@pytest.mark.parametrize(
    "value",
    [
        *(None, 1, "text", [], {}, {"error": {"message": "no"}}, {"choices": None}, {"choices": []}),
        *({"choices": [None]}, {"choices": [{}]}, {"choices": [{"message": None}]}),
        {"choices": [{"message": "card_arrival"}]},
    ],
)
def test_anything_but_a_completion_is_502(rollout: Post, model: Any, kit: Any, value: Any) -> None:
    reply = kit.raw_json(value)
    model.answer = lambda _: reply
    response = rollout(0)
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream_garbage")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>card_arrival</html>", {"Content-Type": "text/html"}),
        (b"", {}),
        (b'{"choices": [', {"Content-Type": "application/json"}),
        (b"[" * 200_000, {"Content-Type": "application/json"}),
        (b"\xff\xfe\x00", {"Content-Type": "application/json"}),
        (b" " * (5 * 1024 * 1024), {"Content-Type": "application/json"}),
    ],
)
def test_html_broken_deep_or_huge_reply_is_502(rollout: Post, model: Any, body: bytes, headers: dict[str, str]) -> None:
    model.answer = lambda _: Response(body, 200, headers)
    response = rollout(0)
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream_garbage")


def test_compressed_reply_is_refused(rollout: Post, model: Any) -> None:
    model.answer = lambda _: Response(b"\x1f\x8b", 200, {"Content-Encoding": "gzip"})
    assert rollout(0).status_code == 502


def test_redirect_is_not_followed(rollout: Post, model: Any) -> None:
    model.answer = lambda _: RedirectResponse(model.url + "/elsewhere", 307)
    response = rollout(0)
    assert (response.status_code, error_of(response)["upstream_status"]) == (502, 307)
    assert len(model.seen) == 1


@pytest.mark.parametrize("limit", ["config", "safety"])
def test_total_deadline_is_504_even_if_the_model_keeps_sending(client: httpx.Client, model: Any, limit: str) -> None:
    async def drip(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.05)

    model.answer = lambda _: drip
    body: dict[str, Any] = {"run_id": "r", "env": {"seed": 0}}
    body["policy"] = {"config": {"inference_url": model.url, "model": "m"}}
    if limit == "config":
        body["policy"]["config"]["timeout_seconds"] = 0.3
    else:
        body["safety"] = {"max_time_s": 0.3}
    response = client.post("/rollout", json=body)
    assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")
    assert "0.3 s" in error_of(response)["message"]


def test_refused_connection_is_502(rollout: Post) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        response = rollout(0, inference_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream_unreachable")


def test_connection_closed_without_an_answer_is_502(rollout: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        closing = pool.submit(lambda: server.accept()[0].close())
        response = rollout(0, inference_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        closing.result()
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream_unreachable")


def test_many_rollouts_at_once_get_their_own_answers(rollout: Post, client: httpx.Client, model: Any, kit: Any) -> None:
    async def echo(request: Any) -> Any:
        query = (await request.json())["messages"][-1]["content"]
        return kit.completion(next(label for label in kit.labels if query.endswith(f"about {label}")))

    model.answer = echo
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda seed: rollout(seed).json(), range(24)))
    assert [body["metrics"]["mean_return"] for body in bodies] == [1.0] * 24
    assert [body["metrics"]["details"]["seed"] for body in bodies] == list(range(24))
