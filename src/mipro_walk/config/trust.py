"""Which key may be sent to which host: a key is bound to its provider, or to a host that this person confirmed.

A configuration may come with somebody else's project, so what it says counts for nothing here. What counts is in the
user's own folders: ``trusted_hosts.json`` (``mipro-walk models trust``), the user's configuration file and, for the
custom server, ``MIPRO_WALK_BASE_URL`` of the environment.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mipro_walk import paths
from mipro_walk.config.published import ROOT
from mipro_walk.errors import PrerequisiteError

CUSTOM_KEY_VARIABLE = "MIPRO_WALK_API_KEY"
BASE_URL_VARIABLE = "MIPRO_WALK_BASE_URL"
PROVIDER_HOSTS = {"openai": "https://api.openai.com", "groq": "https://api.groq.com"}
FILE_NAME = "trusted_hosts.json"
_PORTS = {"https": 443, "http": 80}

Pair = tuple[str, str]
"""An origin such as ``https://models.example`` and the name of a variable that holds a key."""


@dataclass(frozen=True)
class Trust:
    """What this person has confirmed.

    Attributes:
        pairs: key variables by the origin they may be sent to.
        base_url: the custom server that the environment names, without a trailing slash; ``""`` if it names none.
    """

    pairs: frozenset[Pair] = frozenset()
    base_url: str = ""

    def allows_host(self, url: str) -> bool:
        """Whether requests may go to ``url``, beyond this machine, at all."""
        return url == self.base_url or any(origin == origin_of(url) for origin, _ in self.pairs)

    def allows_key(self, url: str, variable: str) -> bool:
        """Whether the key in ``variable`` may be sent to ``url``."""
        if url == self.base_url and variable == CUSTOM_KEY_VARIABLE:
            return True
        return is_providers_own(url, variable) or (origin_of(url), variable) in self.pairs


def is_providers_own(url: str, variable: str) -> bool:
    """Whether ``variable`` is named after the provider that ``url`` belongs to."""
    return any(
        variable.startswith(f"{provider.upper()}_") and origin_of(url) == origin
        for provider, origin in PROVIDER_HOSTS.items()
    )


def origin_of(url: str) -> str:
    """Return scheme, host and port, in one spelling; ``""`` if it is no URL.

    >>> origin_of("https://Models.example:443/v1")
    'https://models.example'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    shown = "" if port is None or port == _PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}" if host else ""


def load_trust(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Trust:
    """Return what is confirmed.

    Args:
        environ: with ``None`` the process's own; one that is given speaks for all of this machine, so that without
            ``MIPRO_WALK_HOME`` in it (and without ``home``) no file is read.
        home: the data folder.

    Raises:
        PrerequisiteError: a file cannot be trusted itself: a link, somebody else's, or damaged.
    """
    known = os.environ if environ is None else environ
    folder = home or paths.data_folder(known, only_named=environ is not None)
    user_file = paths.user_config_file(known, only_named=environ is not None)
    pairs: set[Pair] = set()
    if folder is not None:
        pairs |= set(_read(folder / FILE_NAME))
    if user_file is not None:
        pairs |= set(_of_user_file(user_file))
    return Trust(frozenset(pairs), known.get(BASE_URL_VARIABLE, "").strip().rstrip("/"))


def confirm(url: str, variable: str, home: Path) -> None:
    """Keep in the user's folder that the key in ``variable`` may be sent to the host of ``url``."""
    _write(home, {*_read(home / FILE_NAME), (origin_of(url), variable)})


def withdraw(url: str, home: Path) -> list[Pair]:
    """Forget what was confirmed for the host of ``url``, and return it."""
    known = set(_read(home / FILE_NAME))
    gone = {pair for pair in known if pair[0] == origin_of(url)}
    if gone:
        _write(home, known - gone)
    return sorted(gone)


def confirmed(home: Path) -> list[Pair]:
    """Return what is kept in the user's folder, sorted."""
    return sorted(_read(home / FILE_NAME))


def _write(home: Path, pairs: Iterable[Pair]) -> None:
    rows = [{"host": origin, "variable": variable} for origin, variable in sorted(pairs)]
    document = {"schema_version": 1, "hosts": rows}
    paths.write_private(home / FILE_NAME, json.dumps(document, indent=2).encode() + b"\n")


def _read(path: Path) -> list[Pair]:
    content = paths.read_private(path)
    if content is None:
        return []
    try:
        return [(str(row["host"]), str(row["variable"])) for row in json.loads(content)["hosts"]]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise PrerequisiteError(
            f"{path} is damaged.", "Move it away and confirm hosts again: mipro-walk models trust HOST"
        ) from exc


def _of_user_file(path: Path) -> list[Pair]:
    """Return what the user's own configuration names. What is wrong with that file is told when it is loaded."""
    try:
        if not paths.is_own_file(path):
            return []
        root: Any = tomllib.loads(path.read_bytes()[: paths.MAX_PRIVATE_BYTES].decode("utf-8")).get(ROOT, {})
    except (OSError, ValueError, RecursionError):
        return []
    tables = [root.get(name) for name in ("policy", "meta")] if isinstance(root, dict) else []
    found = [table for table in tables if isinstance(table, dict) and isinstance(table.get("base_url"), str)]
    return [(origin_of(t["base_url"]), str(t.get("api_key_env") or CUSTOM_KEY_VARIABLE)) for t in found]
