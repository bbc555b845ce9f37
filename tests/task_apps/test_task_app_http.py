"""The HTTP surface: keys, hosts, sizes, task information."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

LOCKED = [("GET", "/info"), ("GET", "/task_info"), ("POST", "/rollout"), ("POST", "/done")]


def raw_request(url: str, lines: list[bytes], body: bytes = b"") -> tuple[int, Any]:
    """Send bytes as they are: HTTP clients would not let us misbehave."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_root_and_health_are_open(stranger: httpx.Client) -> None:
    assert stranger.get("/").json() == {"status": "ok", "service": "banking77_intent_classification"}
    assert stranger.head("/").status_code == 200
    health = stranger.get("/health").json()
    assert (health["status"], health["healthy"], health["authorized"]) == ("healthy", True, False)
    assert (health["auth"], health["instance_id"]) == ({"required": True}, "test-instance")


def test_health_tells_whether_the_key_would_do(client: httpx.Client) -> None:
    assert client.get("/health").json()["authorized"] is True


@pytest.mark.parametrize(("method", "path"), LOCKED)
def test_every_other_route_wants_the_key(stranger: httpx.Client, method: str, path: str) -> None:
    response = stranger.request(method, path)
    assert response.status_code == 401
    assert response.json()["detail"]["error"]["code"] == "unauthorised"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "{key}"},
        {"x-api-keys": "other,{key}"},
        {"X-API-Keys": "{key} , other"},
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer {key}"},
        {"X-API-Key": "alias-" + "a" * 32},
        {"X-API-Key": "wrong", "Authorization": "Bearer {key}"},
    ],
)
def test_key_is_taken_from_any_of_the_three_headers(stranger: httpx.Client, kit: Any, headers: dict[str, str]) -> None:
    given = {name: value.format(key=kit.key) for name, value in headers.items()}
    assert stranger.get("/info", headers=given).status_code == 200


@pytest.mark.parametrize(
    "value",
    [b"", b"short", b"0123456789abcdef" * 3, b"0123456789abcdef" * 5, b"\xff\xfe\xe9", "ключ".encode(), b"," * 50],
)
@pytest.mark.parametrize(
    "header", [b"X-API-Key: ", b"X-API-Keys: ", b"Authorization: Bearer ", b"Authorization: Basic "]
)
def test_any_wrong_key_gives_the_same_401(app_url: str, header: bytes, value: bytes) -> None:
    status, body = raw_request(app_url, [b"GET /info HTTP/1.1", b"Host: localhost", header + value])
    assert status == 401
    assert list(body["detail"]["error"]) == ["code", "message"]


def test_key_in_the_query_string_does_not_count(stranger: httpx.Client, kit: Any) -> None:
    assert stranger.get("/info", params={"X-API-Key": kit.key}).status_code == 401


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST", "127.0.0.1:{port}", "localhost:{port}"]
)
def test_own_host_names_are_served(stranger: httpx.Client, app_url: str, host: str) -> None:
    header = host.format(port=urlsplit(app_url).port)
    assert stranger.get("/", headers={"Host": header}).status_code == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"evil.example"],
        [b"evil.example:{port}"],
        [b"localhost.evil.example"],
        [b"evil-localhost"],
        [b"localhost:1"],
        [b"localhost:"],
        [b"0.0.0.0"],
        [b"[::ffff:127.0.0.1]"],
        [b"127.1"],
        [b"user@localhost"],
        [b"\xff"],
    ],
)
@pytest.mark.parametrize("path", [b"/", b"/health", b"/task_info", b"/nowhere"])
def test_foreign_host_is_refused_before_routing(app_url: str, hosts: list[bytes], path: bytes) -> None:
    port = str(urlsplit(app_url).port).encode()
    lines = [b"GET " + path + (b" HTTP/1.1" if hosts else b" HTTP/1.0")]
    lines += [b"Host: " + host.replace(b"{port}", port) for host in hosts]
    status, body = raw_request(app_url, lines)
    assert status == 421
    assert body["detail"]["error"]["code"] == "misdirected"


def test_errors_of_the_router_are_json_too(client: httpx.Client) -> None:
    for response, code in [
        (client.get("/nowhere"), "not_found"),
        (client.get("/docs"), "not_found"),
        (client.get("/openapi.json"), "not_found"),
        (client.delete("/task_info"), "method_not_allowed"),
        (client.get("/rollout"), "method_not_allowed"),
    ]:
        assert response.json()["detail"]["error"]["code"] == code
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_one_megabyte_is_refused(client: httpx.Client, chunked: bool) -> None:
    body = b" " * (1024 * 1024 + 1)
    response = client.post("/rollout", content=iter([body[:600_000], body[600_000:]]) if chunked else body)
    assert response.status_code == 413
    assert response.json()["detail"]["error"]["code"] == "body_too_large"


def test_body_that_breaks_off_is_survived(app_url: str, client: httpx.Client, kit: Any) -> None:
    parts = urlsplit(app_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        head = f"POST /rollout HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {kit.key}\r\nContent-Length: 50\r\n\r\n{{"
        connection.sendall(head.encode())
    assert client.get("/health").status_code == 200


def test_task_info_describes_the_whole_task(client: httpx.Client, kit: Any) -> None:
    info = client.get("/task_info").json()
    assert (info["task_app_id"], info["dataset_size"]) == ("banking77_intent_classification", 16)
    assert sorted(info["labels"]) == sorted(kit.labels)
    assert {name: split["rows"] for name, split in info["splits"].items()} == {"train": 24, "val": 12, "test": 16}
    assert all(len(split["sha256"]) == 64 for split in info["splits"].values())
    assert info["source"] == {"name": "path", "detail": "made for tests", "licence": "none", "notes": []}
    assert info["output_modes"] == ["tool_calls", "structured", "text"]
    assert info["prompt"]["messages"][1] == {"role": "user", "pattern": "{query}"}
    assert info["prompt"]["messages"][0]["pattern"] == info["prompt"]["instruction"]
    assert not any(label in info["prompt"]["instruction"] for label in kit.labels)


def test_task_info_of_a_slice_counts_only_its_rows(client: httpx.Client) -> None:
    info = client.get("/task_info", params={"num_intents": 2}).json()
    assert (len(info["labels"]), info["dataset_size"]) == (2, 8)
    assert info["labels"] == client.get("/task_info").json()["labels"][:2]


def test_one_seed_gives_an_object_and_several_give_a_list_in_the_asked_order(client: httpx.Client) -> None:
    one = client.get("/task_info", params={"seed": 3, "split": "test"}).json()
    for field in ("task", "environment", "dataset", "rubric", "inference", "limits"):
        assert field in one
    assert {"id", "name", "version", "splits", "default_split"} <= set(one["dataset"])
    assert {"outcome", "events"} == set(one["rubric"])
    assert list(one["task_metadata"]) == ["seed", "split", "query", "label"]
    several = client.get("/task_info?seeds=5&seeds=3&split=test").json()
    assert [item["task_metadata"]["seed"] for item in several] == [5, 3]
    assert several[1] == one


def test_seeds_are_train_rows_unless_said_otherwise(client: httpx.Client) -> None:
    assert client.get("/task_info?seed=0").json()["task_metadata"]["split"] == "train"


def test_a_range_is_always_a_list(client: httpx.Client) -> None:
    found = client.get("/task_info?start=2&count=3").json()
    assert [item["task_metadata"]["seed"] for item in found] == [2, 3, 4]
    assert len(client.get("/task_info?start=0&count=1").json()) == 1
    assert client.get("/task_info?start=0&count=0").json() == []


def test_ten_thousand_seeds_in_one_url_are_answered(app_url: str, kit: Any) -> None:
    target = "/task_info?" + "&".join(f"seed={n % 24}" for n in range(10_000))
    status, body = raw_request(
        app_url, [f"GET {target} HTTP/1.1".encode(), b"Host: localhost", b"X-API-Key: " + kit.key.encode()]
    )
    assert (status, len(body)) == (200, 10_000)


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("seed=24", "seed_out_of_range", "train has 0 to 23"),
        ("seed=-1", "seed_out_of_range", "train has 0 to 23"),
        ("seed=0&seed=99&split=val", "seed_out_of_range", "val has 0 to 11"),
        ("start=20&count=5", "seed_out_of_range", "0 to 23"),
        ("start=0&count=10001", "too_many_seeds", "10000"),
        ("seed=abc", "invalid_request", "whole number"),
        ("seed=", "invalid_request", "whole number"),
        ("seed=" + "9" * 5000, "invalid_request", "whole number"),
        ("seed=%D9%A3", "invalid_request", "whole number"),
        ("seed=0&split=dev", "invalid_pool", "train, val, test"),
        ("num_intents=1", "invalid_pool", "2 to 4"),
        ("num_intents=5", "invalid_pool", "2 to 4"),
        ("num_intents=two", "invalid_request", "num_intents"),
    ],
)
def test_bad_seed_split_or_slice_is_422_and_says_the_range(
    client: httpx.Client, query: str, code: str, text: str
) -> None:
    response = client.get(f"/task_info?{query}")
    assert response.status_code == 422
    error = response.json()["detail"]["error"]
    assert error["code"] == code
    assert text in error["message"]


def test_info_and_done_answer(client: httpx.Client) -> None:
    assert {"service", "dataset", "rubrics", "inference", "limits"} == set(client.get("/info").json())
    assert client.post("/done").json() == {"ok": True, "service": "banking77_intent_classification"}
