"""The job backend over HTTP, ours or a remote one that speaks the same API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import httpx
from nacl.public import PublicKey, SealedBox

from mipro_walk.clients.http import make_client, parse_json, require_http_url
from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, UnreachableError

JOBS = "/prompt-learning/online/jobs"
TIMEOUT_SECONDS = 30.0
ENVIRONMENT_KEY_NAME = "ENVIRONMENT_API_KEY"


class BackendClient:
    """One backend. ``base_url`` may end in ``/api`` or not."""

    def __init__(self, base_url: str, key: str) -> None:
        root = require_http_url(base_url, "backend URL").removesuffix("/api")
        self.base_url = root
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._client = make_client(f"{root}/api", timeout=TIMEOUT_SECONDS, headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def health(self) -> dict[str, Any]:
        """Return ``/api/health`` of our backend."""
        return self._object("GET", "/health")

    def register_environment_key(self, key: str) -> bool:
        """Seal the task app key for the backend and store it there; return whether the backend confirms it."""
        answer = self._object("GET", "/v1/crypto/public-key")
        try:
            public_key = PublicKey(base64.b64decode(str(answer["public_key"]), validate=True))
        except (KeyError, ValueError, TypeError) as exc:
            raise MiproWalkError("The backend's public key cannot be used.", "Check the backend URL.") from exc
        sealed = base64.b64encode(SealedBox(public_key).encrypt(key.encode())).decode()
        self._object("POST", "/v1/env-keys", json={"name": ENVIRONMENT_KEY_NAME, "ciphertext_b64": sealed})
        return bool(self._object("GET", "/v1/env-keys/verify").get("present"))

    def submit(
        self, document: Mapping[str, Any], launch: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> str:
        """Submit ``{"prompt_learning": ...}`` and return the job id. ``launch`` says what can be started again."""
        section = document["prompt_learning"]
        body = {
            "algorithm": section.get("algorithm", "mipro"),
            "config_body": dict(document),
            "overrides": {},
            "metadata": {"launch": dict(launch or {})},
            "auto_start": True,
        }
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self._object("POST", JOBS, json=body, headers=headers)
        return str(answer.get("job_id") or answer["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the job's status with its progress."""
        return self._object("GET", f"{JOBS}/{job_id}")

    def events(self, job_id: str, since: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """Return events after ``since`` (exclusive), ascending."""
        body = self._request("GET", f"{JOBS}/{job_id}/events", params={"since_seq": since, "limit": limit})
        found = body.get("events", []) if isinstance(body, dict) else body
        return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []

    def results(self, job_id: str) -> dict[str, Any]:
        """Return the result documents by file name."""
        documents = self._object("GET", f"{JOBS}/{job_id}/results").get("documents")
        return documents if isinstance(documents, dict) else {}

    def cancel(self, job_id: str) -> dict[str, Any]:
        """End a job for good; what it found so far is kept."""
        return self._object("POST", f"{JOBS}/{job_id}/cancel")

    def pause(self, job_id: str) -> dict[str, Any]:
        """Stop a job after the calls in flight; ``resume`` goes on."""
        return self._object("POST", f"{JOBS}/{job_id}/pause")

    def resume(self, job_id: str) -> dict[str, Any]:
        """Go on with a paused or failed job."""
        return self._object("POST", f"{JOBS}/{job_id}/resume")

    def page_code(self) -> str:
        """Return a code for the live page, good once within a minute; a backend without a page answers an error."""
        return str(self._object("POST", "/page/codes").get("code") or "")

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job, newest first."""
        found = self._object("GET", JOBS).get("jobs")
        return found if isinstance(found, list) else []

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body = self._request(method, path, **options)
        if not isinstance(body, dict):
            raise UnreachableError(
                f"{self.base_url} did not answer {path} with a JSON object.", "Check the backend URL."
            )
        return body

    def _request(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as exc:
            raise UnreachableError(
                f"The backend at {self.base_url} does not answer ({type(exc).__name__}).",
                "Start one with `mipro-walk backend`, or correct --backend.",
            ) from exc
        if response.status_code in (401, 403):
            raise KeyMissingError(
                f"The backend at {self.base_url} refused the key.", "Set SYNTH_API_KEY to the key of that backend."
            )
        body = parse_json(response)
        if response.status_code == 422:
            message, problems, fix = _problems(body)
            raise ConfigError(message, fix, problems)
        if response.status_code >= 400:
            message, _, fix = _problems(body)
            raise MiproWalkError(f"The backend answered {response.status_code}: {message}", fix)
        return body


def _problems(body: Any) -> tuple[str, list[str], str]:
    """Return message, problems and fix of our error shape, or the best that can be made of another one."""
    detail = body.get("detail", body) if isinstance(body, dict) else body
    error = detail.get("error", detail) if isinstance(detail, dict) else detail
    if not isinstance(error, dict):
        return str(error)[:500], [], ""
    problems = error.get("problems")
    return (
        str(error.get("message", "refused"))[:2000],
        [str(p) for p in problems] if isinstance(problems, list) else [],
        str(error.get("fix") or ""),
    )
