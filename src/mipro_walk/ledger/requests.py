"""The requests that reached the model, one template for each prompt: a prompt is more than its texts.

Which rollout is the first to end depends on chance, so a template is kept only as what all rows of a prompt agree on:
where two differ, both are recorded, and there is no request for that prompt.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from mipro_walk.ledger.store import Ledger
from mipro_walk.types import fingerprint

KIND = "request"
ENOUGH = 2
"""Templates recorded of one prompt: two say that its requests differ in more than the query."""

Template = Mapping[str, Any]


class RecordedRequests:
    """Hears of every request of a job and records what is new. Safe to share between threads."""

    def __init__(self, ledger: Ledger, job_id: str) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = {}
        for identity, value in ledger.recordings(job_id, KIND).items():
            self._seen.setdefault(value["prompt"], set()).add(identity)

    def see(self, prompt_hash: str, template: Template | None) -> None:
        """Record a request of a prompt; ``None`` stands for one that has no template."""
        identity = fingerprint([prompt_hash, template])
        with self._lock:
            seen = self._seen.setdefault(prompt_hash, set())
            if identity in seen or len(seen) >= ENOUGH:
                return
            self._ledger.record(self._job_id, KIND, identity, {"prompt": prompt_hash, "template": template})
            seen.add(identity)


def recorded_requests(ledger: Ledger, job_id: str) -> dict[str, Template]:
    """Return the template of each prompt whose requests differ in the query only, by the prompt's hash."""
    found: dict[str, list[Template | None]] = {}
    for value in ledger.recordings(job_id, KIND).values():
        found.setdefault(value["prompt"], []).append(value["template"])
    return {prompt: only for prompt, [only, *others] in found.items() if only is not None and not others}
