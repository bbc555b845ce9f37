"""``--env-file FILE``: variables from a file that somebody asked for, beneath the environment and never over it.

A file from elsewhere must not be able to send a key away or to agree to anything. So only keys and the settings of a
configuration are taken, and the address of a provider only together with its key.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from mipro_walk.errors import ConfigError

MAX_BYTES = 64 * 1024
KEY = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")
ADDRESSES = {
    "OPENAI_BASE_URL": "OPENAI_API_KEY",
    "GROQ_BASE_URL": "GROQ_API_KEY",
    "MIPRO_WALK_BASE_URL": "MIPRO_WALK_API_KEY",
}
"""Variables that say where a key goes, and the key that has to come with them."""


@dataclass(frozen=True)
class EnvFile:
    """What was taken from a file.

    Attributes:
        places: ``FILE:LINE`` by the name of each variable that was set.
        notes: what a person should know, in words, without any value.
    """

    places: dict[str, str]
    notes: list[str]


def load_env_file(path: Path, environ: MutableMapping[str, str]) -> EnvFile:
    """Set what ``path`` says and ``environ`` does not.

    Raises:
        ConfigError: it cannot be read, or a line is no ``NAME=VALUE``.
    """
    values = _parse(path, _read(path))
    taken = EnvFile({}, [])
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        taken.notes.append(f"{path} can be read by others: chmod 600 {path}")
    for name, (value, line) in values.items():
        if environ.get(name, "").strip() or not value.strip():
            continue
        if reason := _refusal(name, values, environ):
            taken.notes.append(f"{path}:{line}: {name} is not taken from a file: {reason}")
        else:
            taken.places[name] = f"{path}:{line}"
    environ.update({name: values[name][0] for name in taken.places})
    return taken


def _refusal(name: str, values: dict[str, tuple[str, int]], environ: MutableMapping[str, str]) -> str:
    """Return why a variable is left alone; ``""`` if it is taken."""
    from mipro_walk.config.loading import ENV_PREFIX, OVERRIDES

    if name in ADDRESSES:
        key = ADDRESSES[name]
        is_own_key = key in values and not environ.get(key, "").strip()
        return "" if is_own_key else f"it says where {key} goes, and that key is not from this file; export it yourself"
    if KEY.fullmatch(name) or name in {f"{ENV_PREFIX}{key.upper()}" for key in OVERRIDES}:
        return ""
    return "only keys (…_API_KEY) and the settings of a configuration are; export it yourself"


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"There is no file {str(path)!r}.", "Name an existing file with --env-file.")
        content = path.read_bytes()[: MAX_BYTES + 1]
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES // 1024} KiB.", "Name a file of variables.")
        return content.decode("utf-8")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror or exc}.", "Check who may read it.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8.", "Save it as UTF-8.") from exc


def _parse(path: Path, text: str) -> dict[str, tuple[str, int]]:
    """Return value and line by name. No ``$NAME`` is expanded: a value means itself."""
    import io

    from dotenv.parser import parse_stream

    values: dict[str, tuple[str, int]] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _leading_lines(binding.original.string)
        if binding.error:
            raise ConfigError(f"{path}:{line} is not of the form NAME=VALUE.", "Correct that line.")
        if binding.key is not None and binding.value is not None:
            values[binding.key] = (binding.value, line)
    if bad := next((name for name, (value, _) in values.items() if "\x00" in name + value), None):
        raise ConfigError(f"{path}: the value of {bad!r} holds a NUL.", "Correct that line.")
    return values


def _leading_lines(text: str) -> int:
    return len(text[: len(text) - len(text.lstrip())].splitlines())
