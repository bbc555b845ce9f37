"""Writes configuration files: tomli-w for the values, an explanation from the reference above each key."""

from __future__ import annotations

import copy
import os
import secrets
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from mipro_walk.config.models import RunConfig
from mipro_walk.config.parsing import parse_config
from mipro_walk.config.profiles import describe_profile, get_profile, with_algorithm
from mipro_walk.config.published import GEPA, MIPRO, PLAIN_HOMES, ROOT, ROUTES
from mipro_walk.config.sections import FREE_KEYS, SECTIONS, expand_seeds
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.errors import ConfigError, PrerequisiteError

WIDTH = 100
HEADLINES = {
    ROOT: "What to optimize, and where",
    f"{ROOT}.policy": "The model that answers the task",
    f"{ROOT}.meta": "The model that writes instructions",
    f"{ROOT}.env_config": "Handed to the task app as it is",
    f"{ROOT}.mipro": "The search",
    f"{ROOT}.gepa": "The search",
    f"{ROOT}.termination_config": "What ends the search",
}


def write_config(
    path: str | os.PathLike[str],
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    algorithm: AlgorithmName | None = None,
    force: bool = False,
    title: str | None = None,
) -> RunConfig:
    """Write a profile, with changes, as a commented TOML file of mode 0600, and return what it means.

    The file appears whole or not at all. Loading it gives an equal configuration.

    Args:
        path: where to write.
        profile: a name in `PROFILES`.
        overrides: values by key (``budget``) or by dotted name (``policy.model``, ``env_config.num_intents``);
            ``None`` takes a key out.
        algorithm: another one than the profile's.
        force: replace an existing file.
        title: what the file's first comment says; by default, what the profile is for.

    Raises:
        ConfigError: the values are wrong, or the file exists and ``force`` is false.
        PrerequisiteError: the folder cannot be written to.
    """
    chosen = get_profile(profile).document
    document = apply_overrides(with_algorithm(chosen, algorithm) if algorithm else chosen, overrides or {})
    config = parse_config(document, origin=f"profile {profile}")
    text = render_config(document, title=title or f"Profile {profile}. {describe_profile(profile, algorithm)}")
    _write_private(Path(path), text.encode("utf-8"), force=force)
    return config


def apply_overrides(document: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``document`` with ``overrides`` in the tables they belong to."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for name, value in overrides.items():
        *tables, key = name.removeprefix(f"{ROOT}.").split(".")
        table = changed[ROOT]
        for step in tables or _table_of(key, changed[ROOT].get("algorithm")):
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name!r} does not name a key: {step!r} is not a table.", "See config show.")
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return changed


def _table_of(key: str, algorithm: object) -> list[str]:
    """Return the steps from ``[prompt_learning]`` to the table of a plain key; an unknown key is refused later."""
    if algorithm == "gepa" and ROUTES[GEPA].get(key, ("",))[0] in (GEPA, MIPRO):
        return ["gepa"]
    for table in PLAIN_HOMES:
        if key in SECTIONS[table].model_fields:
            return table.split(".")[1:]
    return ["env_config"] if key in FREE_KEYS else []


def render_config(document: Mapping[str, Any], *, title: str) -> str:
    """Return ``document`` as TOML text with a comment above each key, in the order of the reference."""
    root = document[ROOT]
    parts = [_comment(title), _comment("Every key, its range and its default: docs/configuration.md")]
    parts += [_section(ROOT, {key: value for key, value in root.items() if not isinstance(value, dict)})]
    parts += [_section(f"{ROOT}.{key}", value) for key, value in root.items() if isinstance(value, dict)]
    return "".join(parts)


def _section(name: str, values: Mapping[str, Any]) -> str:
    headline = f"\n# ---- {HEADLINES[name]}\n" if name in HEADLINES else "\n"
    if name not in SECTIONS and any(map(_holds_tables, values.values())):
        nested: Any = dict(values)
        for step in reversed(name.split(".")):
            nested = {step: nested}
        return headline + tomli_w.dumps(nested)
    order = [*SECTIONS[name].model_fields, *SECTIONS[MIPRO].model_fields] if name in SECTIONS else list(FREE_KEYS)
    keys = sorted(values, key=lambda key: order.index(key) if key in order else len(order))
    lines = [_comment(_explanation(name, key)) + _value(key, values[key]) for key in keys]
    return f"{headline}[{name}]\n{''.join(lines)}"


def _holds_tables(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_tables, value)))


def _explanation(section: str, key: str) -> str:
    home, name = ROUTES.get(section, {}).get(key, (section, key))
    info = SECTIONS[home].model_fields.get(name) if home in SECTIONS else None
    if info is not None:
        return info.description or ""
    return FREE_KEYS.get(key, "") if section == f"{ROOT}.env_config" else ""


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 2))


def _value(key: str, value: Any) -> str:
    """Return ``key = value``; seeds are written out and fill lines, where tomli-w would give each a line."""
    if _holds_tables(value):
        value = list(expand_seeds(value))
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        rows = textwrap.fill(", ".join(map(str, value)) + ",", WIDTH, initial_indent="    ", subsequent_indent="    ")
        name = tomli_w.dumps({key: 0}).partition(" = ")[0]
        return f"{name} = [\n{rows}\n]\n"
    return tomli_w.dumps({key: value})


def _write_private(path: Path, content: bytes, *, force: bool) -> None:
    """Write a new file of mode 0600 under a temporary name, then give it its name.

    Only a name that is still free is taken, unless ``force`` is set.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            if force:
                os.replace(temporary, path)
            else:
                _name_new_file(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise ConfigError(
            f"{str(path)!r} exists already.", "Pass --force to replace it, or name another file."
        ) from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise PrerequisiteError(
            f"Cannot write {str(path)!r}: {reason}.", "Name a file in a folder that exists and that you may write to."
        ) from None


def _name_new_file(temporary: Path, path: Path) -> None:
    """Give a finished file its name. A link never replaces anything, so two writers cannot both win."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(temporary, path)
