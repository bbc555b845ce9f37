"""JSON answers: one shape for errors, and an encoder that cannot fail on odd text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse


class AsciiJSONResponse(JSONResponse):
    """JSON in plain ASCII: text that is no valid UTF-8 is escaped instead of failing half-way."""

    def render(self, content: Any) -> bytes:
        """Encode `content`; NaN and infinity are refused."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, **extra: object
) -> AsciiJSONResponse:
    """Return `{"detail": {"error": {"code", "message", ...}}}` with a status."""
    return AsciiJSONResponse({"detail": {"error": {"code": code, "message": message, **extra}}}, status, headers)
