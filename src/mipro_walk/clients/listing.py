"""Which models an endpoint offers: ``GET /models``."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.http import make_client, parse_json
from mipro_walk.errors import KeyMissingError, UnreachableError

MAX_NAMES = 5000
MAX_NAME_CHARS = 200


def list_models(endpoint: Endpoint, extra_headers: Mapping[str, str], timeout: float) -> list[str]:
    """Return the names of the models, sorted.

    Raises:
        KeyMissingError: the key was refused.
        UnreachableError: there is no such list, or nobody answers.
    """
    headers = dict(extra_headers)
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
    try:
        with make_client(endpoint.base_url, timeout=timeout, headers=headers) as client:
            response = client.get("/models")
    except (httpx.HTTPError, OSError) as exc:
        raise UnreachableError(
            f"{endpoint.base_url} does not answer ({type(exc).__name__}).", "Check the network and the base URL."
        ) from exc
    if response.status_code in (401, 403):
        raise KeyMissingError(
            f"{endpoint.base_url} refused the key ({response.status_code}).", "Check the key and api_key_env."
        )
    body = parse_json(response) if response.status_code == 200 else None
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise UnreachableError(
            f"{endpoint.base_url}/models answered {response.status_code} without a list.",
            "This endpoint does not list its models; see its documentation for their names.",
        )
    names = [row.get("id") for row in rows[:MAX_NAMES] if isinstance(row, dict)]
    return sorted({name[:MAX_NAME_CHARS] for name in names if isinstance(name, str)})
