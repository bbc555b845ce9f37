"""The task app's key: minted once, kept in the work folder, never shown whole."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mipro_walk.errors import KeyMissingError
from mipro_walk.paths import Workdir, read_private, write_private

VARIABLE = "ENVIRONMENT_API_KEY"
MIN_CHARS = 32
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """The key that task app and backend share.

    Attributes:
        origin: ``new`` when it was minted just now.
    """

    value: str = field(repr=False)
    origin: Literal["environment", "file", "new"]


def environment_key(environ: Mapping[str, str], workdir: Workdir, *, rotate: bool = False) -> EnvironmentKey:
    """Return the key from the environment, else the one in the work folder, else a new one; it is kept there.

    Raises:
        KeyMissingError: the key in the environment is too short, or rotation would not change it.
    """
    given = environ.get(VARIABLE, "").strip()
    if given and not is_valid(given):
        raise KeyMissingError(
            f"{VARIABLE} has {len(given)} characters; it needs {MIN_CHARS} or more, without spaces.",
            f"Unset {VARIABLE}; a key is then made for you.",
        )
    if given and rotate:
        raise KeyMissingError(f"{VARIABLE} is set, so a new key would not be used.", f"Unset {VARIABLE} first.")
    kept = find_key(workdir)
    if given:
        if given != kept:
            _keep(workdir, given)
        return EnvironmentKey(given, "environment")
    if kept and not rotate:
        return EnvironmentKey(kept, "file")
    new = secrets.token_hex(32)
    _keep(workdir, new)
    return EnvironmentKey(new, "new")


def find_key(workdir: Workdir) -> str | None:
    """Return the key in the work folder, or ``None`` if there is none that can be used."""
    found = (read_private(workdir.env_key) or b"").decode("ascii", "replace").strip()
    return found if is_valid(found) else None


def is_valid(key: str) -> bool:
    """Whether ``key`` is long enough and safe in a header."""
    return len(key) >= MIN_CHARS and _PRINTABLE.fullmatch(key) is not None


def mask(key: str) -> str:
    """Return the last four characters behind an ellipsis, nothing of a key shorter than twelve."""
    return f"…{key[-4:]}" if len(key) >= 12 else "…"


def _keep(workdir: Workdir, key: str) -> None:
    write_private(workdir.env_key, key.encode("ascii") + b"\n")
