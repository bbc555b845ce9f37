"""``openai``: the body of the chat request, as it reached the model, its placeholder where the query belongs."""

from __future__ import annotations

import json

from mipro_walk.exports.source import ExportSource


def openai_request(source: ExportSource) -> str:
    """Return the request as JSON. Put a query in place of the placeholder and it is byte for byte what was tested."""
    return json.dumps(source.request().body, ensure_ascii=False, indent=2) + "\n"
