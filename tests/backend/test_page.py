"""The live page over HTTP: what is open, what a session may do, and what no answer lacks."""

from __future__ import annotations

import re
import secrets

import pytest
from fastapi.testclient import TestClient

from mipro_walk.backend.app import create_app
from mipro_walk.backend.page import OPEN, SCRIPTS
from mipro_walk.backend.sessions import WRONG_BURST
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.ledger import Ledger
from mipro_walk.types import Event

JOBS = "/api/prompt-learning/online/jobs"
KEY = secrets.token_hex(32)
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def app(tmp_path):
    return create_app(BackendSettings(home=tmp_path, keys=(KEY,)), 8000)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://127.0.0.1:8000") as opened:
        yield opened


@pytest.fixture
def ledger(client, tmp_path):
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield opened
    opened.close()


@pytest.fixture
def job_id(ledger):
    """A paused job with ten events, written beside the backend."""
    config = {"prompt_learning": {"termination_config": {"budget": 50, "max_cost_usd": 0.5}}}
    job = ledger.create_job(config, algorithm="mipro", launch={"task_app_key_sealed": "sealed"}, request_hash="h")
    for number in range(10):
        ledger.add_event(job.job_id, Event("odd" if number % 2 else "even", f"line {number}", {}))
    ledger.update_job(job.job_id, status="paused")
    return job.job_id


def session(client, **credential):
    answer = client.post("/api/page/sessions", json=credential or {"key": KEY})
    assert answer.status_code == 200
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def code_of(answer):
    return answer.json()["detail"]["error"]["code"]


# ---- open files


@pytest.mark.parametrize("path", sorted(path for method, path in OPEN if method == "GET"))
def test_files_of_the_page_are_open_and_hold_no_data(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content
    assert KEY not in answer.text


def test_every_script_is_served_and_every_one_served_is_used(client):
    found = {"main.js"}
    queue = ["main.js"]
    while queue:
        text = client.get(f"/page/{queue.pop()}").text
        new = {name for name in SCRIPTS if f'"./{name}"' in text} - found
        found |= new
        queue += new
    assert found == set(SCRIPTS)


@pytest.mark.parametrize("name", ["sessions.py", "..%2Fpage.py", "index.html", "%2e%2e%2fkeys.py", "nothing.js"])
def test_nothing_else_is_open(client, name):
    assert client.get(f"/page/{name}").status_code == 401
    assert client.get(f"/page/{name}", headers=BEARER).status_code == 404


def test_page_has_no_inline_script_or_style_and_no_foreign_address(client):
    html = client.get("/").text
    assert "<style" not in html
    assert " style=" not in html
    assert not re.search(r"\son\w+=", html)
    assert html.count("<script") == 1
    for path in (path for method, path in OPEN if method == "GET" and path != "/"):
        text = client.get(path).text
        assert "innerHTML" not in text
        assert "document.write" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/api/health", JOBS, "/nothing"])
def test_every_answer_carries_the_strict_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} <= set(policy)
    for kind in ("script", "style"):  # ours, and the one that reports carry
        assert any(re.fullmatch(rf"{kind}-src 'self' 'sha256-[\w+/=]+'", part) for part in policy), policy
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


# ---- codes and sessions


def test_code_needs_a_key_and_is_exchanged_once(client):
    assert client.post("/api/page/codes").status_code == 401
    assert client.post("/api/page/codes", headers=session(client)).status_code == 403
    code = client.post("/api/page/codes", headers=BEARER).json()["code"]
    headers = session(client, code=code)
    assert client.get(JOBS, headers=headers).json() == {"jobs": []}
    again = client.post("/api/page/sessions", json={"code": code})
    assert (again.status_code, code_of(again)) == (401, "unauthorised")


@pytest.mark.parametrize("body", [{}, {"key": "x"}, {"code": "x"}, {"key": ""}, {"code": "x", "key": KEY}])
def test_wrong_credential_opens_no_session(client, body):
    answer = client.post("/api/page/sessions", json=body)
    assert answer.status_code == 401
    assert "token" not in answer.text


@pytest.mark.parametrize("body", [{"key": 5}, {"key": "k" * 600}, {"token": "x"}, [], "text"])
def test_body_that_is_no_credential_is_422(client, body):
    assert client.post("/api/page/sessions", json=body).status_code == 422


def test_many_wrong_guesses_have_to_wait_but_keys_and_sessions_still_work(client):
    headers = session(client)
    answers = [client.post("/api/page/sessions", json={"code": str(n)}) for n in range(WRONG_BURST + 3)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert client.post("/api/page/sessions", json={"key": KEY}).status_code == 429
    assert client.get(JOBS, headers=headers).status_code == 200
    assert client.get(JOBS, headers=BEARER).status_code == 200


def test_session_ends_when_it_signs_out(client):
    headers = session(client)
    assert client.delete("/api/page/sessions", headers=headers).status_code == 204
    assert client.get(JOBS, headers=headers).status_code == 401


def test_token_works_in_the_header_only(client):
    token = session(client)["Authorization"].partition(" ")[2]
    assert client.get(JOBS, params={"token": token, "key": KEY}).status_code == 401
    client.cookies.set("token", token)
    assert client.get(JOBS).status_code == 401
    for value in (token, f"Basic {token}", f"Bearer  {token}", f"Bearer {token} "):
        assert client.get(JOBS, headers={"Authorization": value}).status_code in (200, 401)
    assert client.get(JOBS, headers={"Authorization": f"Basic {token}"}).status_code == 401


def test_foreign_pages_and_hosts_cannot_exchange_anything(client):
    body = {"key": KEY}
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "evil.example"}, 421),
    ):
        assert client.post("/api/page/sessions", json=body, headers=headers).status_code == status
        assert client.get("/", headers=headers).status_code == status
    own = {"Origin": "http://127.0.0.1:8000"}
    assert client.post("/api/page/sessions", json=body, headers=own).status_code == 200


# ---- what a session may do


def test_session_reads_and_acts_on_jobs(client, job_id):
    headers = session(client)
    for path in ("", "/events", "/events?newest=true"):
        assert client.get(f"{JOBS}/{job_id}{path}", headers=headers).status_code == 200
    assert client.get(f"{JOBS}/{job_id}/results", headers=headers).status_code == 409
    assert client.post(f"{JOBS}/{job_id}/cancel", headers=headers).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", JOBS),
        ("GET", "/api/health"),
        ("GET", "/api/v1/crypto/public-key"),
        ("POST", "/api/v1/env-keys"),
        ("GET", "/api/v1/env-keys/verify"),
        ("POST", "/api/page/codes"),
        ("PUT", f"{JOBS}/pl_1/cancel"),
        ("POST", f"{JOBS}/pl_1/delete"),
        ("POST", f"{JOBS}/pl_1/x/cancel"),
        ("GET", f"{JOBS}/pl_1/cancel"),
        ("GET", "/nothing"),
    ],
)
def test_session_may_do_nothing_else(client, method, path):
    answer = client.request(method, path, headers=session(client))
    assert (answer.status_code, code_of(answer)) == (403, "session")


def test_every_route_is_closed_without_a_key_unless_it_is_named_open(app, client):
    from mipro_walk.backend.guard import OPEN_PREFIXES

    checked = 0
    for template, operations in app.openapi()["paths"].items():
        path = template.replace("{", "").replace("}", "")
        for method in (name.upper() for name in operations):
            if (method, path) not in OPEN and not path.startswith(OPEN_PREFIXES):
                checked += 1
                assert client.request(method, path).status_code == 401, (method, path)
    assert checked >= 14


# ---- what the page asks for


def test_newest_events_and_events_by_type(client, job_id):
    def lines(query):
        events = client.get(f"{JOBS}/{job_id}/events?{query}", headers=BEARER).json()["events"]
        return [event["message"].removeprefix("line ") for event in events]

    assert lines("newest=true&limit=3") == ["7", "8", "9"]
    assert lines("types=odd&limit=2") == ["1", "3"]
    assert lines("types=odd,even&since_seq=8") == ["8", "9"]
    assert lines("types=odd&newest=true&limit=2") == ["7", "9"]


def test_status_says_limits_and_hides_the_sealed_key(client, job_id):
    status = client.get(f"{JOBS}/{job_id}", headers=BEARER).json()
    assert status["limits"] == {"budget": 50, "max_cost_usd": 0.5, "max_time_seconds": None}
    assert (status["test"], status["has_results"]) == (None, False)
    assert "sealed" not in str(status)


def test_status_of_an_ended_job_is_kept_only_until_it_changes(client, job_id, ledger):
    def status():
        found = client.get(f"{JOBS}/{job_id}", headers=BEARER).json()
        return found["status"], found["error"]

    ledger.update_job(job_id, status="failed", error="first")
    assert [status(), status()] == [("failed", "first")] * 2
    ledger.update_job(job_id, error="second")
    assert status() == ("failed", "second")
    ledger.update_job(job_id, status="paused", error=None)
    assert status() == ("paused", None)
