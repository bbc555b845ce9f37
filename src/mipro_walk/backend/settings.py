"""What a backend process is told when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mipro_walk.errors import ConfigError, KeyMissingError

MIN_KEY_CHARS = 32


@dataclass(frozen=True)
class BackendSettings:
    """Settings of one backend.

    Attributes:
        home: the data folder: ledger, keys, model weights.
        keys: accepted bearer keys, at least one; never printed.
        ledger_url: SQLAlchemy URL of the ledger.
        host: address to listen on; loopback unless the user says otherwise.
        environ: where provider keys are looked up.
        model_map: ``provider/model`` of a config to ``provider/model`` to use instead, each said in the job's events.
        model_path: a GGUF file for the local model instead of the packaged one.
        allow_remote_task_apps: whether task apps on other machines may be called.
    """

    home: Path
    keys: tuple[str, ...] = field(repr=False)
    ledger_url: str = ""
    host: str = "127.0.0.1"
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    model_map: Mapping[str, str] = field(default_factory=dict)
    model_path: Path | None = None
    allow_remote_task_apps: bool = False

    def __post_init__(self) -> None:
        if not self.keys or any(len(key) < MIN_KEY_CHARS for key in self.keys):
            raise KeyMissingError(
                f"The backend needs a key of at least {MIN_KEY_CHARS} characters.",
                "Remove the short key from backend_key.txt or SYNTH_API_KEY; a new one is then made.",
            )

    @property
    def database(self) -> str:
        """URL of the ledger, by default a SQLite file in ``home``."""
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.sqlite3'}"


def parse_model_map(text: str) -> dict[str, str]:
    """Read ``openai/gpt-4o-mini=local/smollm2-135m-instruct,...``.

    Raises:
        ConfigError: an entry is not of that form.
    """
    pairs: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        asked, separator, used = entry.partition("=")
        if not separator or "/" not in asked or "/" not in used:
            raise ConfigError(
                f"{entry!r} is not a model mapping.", "Write MIPRO_WALK_MODEL_MAP as openai/MODEL=local/MODEL."
            )
        pairs[asked.strip()] = used.strip()
    return pairs
