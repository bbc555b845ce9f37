"""Settings of one server, read from arguments and the environment. Keys never come from arguments."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MIN_KEY_CHARACTERS: Final = 32
KEY_VARIABLES: Final = ("ENVIRONMENT_API_KEY", "DEV_ENVIRONMENT_API_KEY")
ALIASES_VARIABLE: Final = "ENVIRONMENT_API_KEY_ALIASES"
INSTANCE_VARIABLE: Final = "TASK_APP_INSTANCE_ID"
# A comma would split it in X-API-Keys, anything beyond ASCII does not survive an HTTP header.
_USABLE_KEY: Final = re.compile(r"[!-+\--~]+")


class KeyProblem(Exception):
    """The environment key is missing or unusable; the text never contains it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `create_app` needs.

    Attributes:
        key: Required of every caller and sent along to `inference_url`.
        aliases: Further keys accepted from callers, for a change of keys without a gap.
        instance_id: Tells one start of the server from another.
        allowed_hosts: Further Host header values, for a tunnel or a reverse proxy.
    """

    key: str = field(repr=False)
    aliases: tuple[str, ...] = field(default=(), repr=False)
    host: str = "127.0.0.1"
    port: int = 8002
    instance_id: str = field(default_factory=lambda: secrets.token_hex(8))
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in (self.key, *self.aliases):
            _check_key(key)


def settings_from(
    environ: Mapping[str, str],
    *,
    host: str = "127.0.0.1",
    port: int = 8002,
    allowed_hosts: tuple[str, ...] = (),
) -> Settings:
    """Combine arguments with the environment.

    Raises:
        KeyProblem: if no key is set, or one is shorter than 32 characters or cannot stand in a header.
    """
    key = next((value for name in KEY_VARIABLES if (value := environ.get(name, "").strip())), None)
    if key is None:
        raise KeyProblem(
            "ENVIRONMENT_API_KEY is not set. Make one with "
            "`export ENVIRONMENT_API_KEY=$(python -c 'import secrets; print(secrets.token_hex(32))')`."
        )
    aliases = tuple(part for raw in environ.get(ALIASES_VARIABLE, "").split(",") if (part := raw.strip()))
    instance_id = environ.get(INSTANCE_VARIABLE, "").strip() or secrets.token_hex(8)
    return Settings(key, aliases, host, port, instance_id, allowed_hosts)


def is_loopback(host: str) -> bool:
    """Tell whether binding to `host` stays on this machine. Only `localhost` is accepted as a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_key(key: str) -> None:
    if len(key) < MIN_KEY_CHARACTERS:
        raise KeyProblem(
            f"An environment key has {len(key)} characters; at least {MIN_KEY_CHARACTERS} are needed "
            f"({KEY_VARIABLES[0]}, {ALIASES_VARIABLE})."
        )
    if not _USABLE_KEY.fullmatch(key):
        raise KeyProblem("An environment key holds a space, a comma or a non-ASCII character. Use hex digits.")
