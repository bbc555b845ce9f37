"""Reads a configuration file, whatever it may be, and puts environment and flags over it."""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from mipro_walk import paths
from mipro_walk.config.draft import Draft, read_document
from mipro_walk.config.models import RunConfig
from mipro_walk.config.parsing import checked_section, finish
from mipro_walk.config.problems import Problems, plain_type, printable, show
from mipro_walk.config.published import GEPA, META, MIPRO, POLICY, ROOT, TERMINATION, Place
from mipro_walk.config.scan import scan_lines
from mipro_walk.config.sections import SECTIONS
from mipro_walk.config.trust import load_trust
from mipro_walk.errors import ConfigError

MAX_BYTES = 64 * 1024
ENV_PREFIX = "MIPRO_WALK_"
CREATE_HINT = "Create one with: mipro-walk config create"
LARGE_HINT = "Write pools as ranges: online_pool = [{ start = 0, end = 500 }]."


def _is_single(table: str, key: str) -> bool:
    kind = plain_type(SECTIONS[table].model_fields[key].annotation)
    return ("seeds" not in key and "pool" not in key and kind in (int, float, bool, str)) or get_origin(kind) is Literal


OVERRIDES: dict[str, Place] = {
    key: (table, key)
    for table in (GEPA, MIPRO, TERMINATION)
    for key in SECTIONS[table].model_fields
    if _is_single(table, key)
}
"""Keys that a flag, or the environment as ``MIPRO_WALK_<KEY>``, may set over the file: all single values."""
OVERRIDES |= {
    f"{table.rpartition('.')[2]}_{key}": (table, key)
    for table in (POLICY, META)
    for key in SECTIONS[table].model_fields
    if _is_single(table, key)
}
ROLE_TABLES = {POLICY: (POLICY, "provider"), META: (MIPRO, "meta_model_provider")}
"""Where the provider is named that a table of the user's file speaks of."""
FREE_TABLES = ("env_config", "initial_prompt")


def load_config(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    user_file: Path | None = None,
) -> RunConfig:
    """Read a TOML file; flags win over environment variables, these over the file, over the user's, over defaults.

    Args:
        path: a regular file of at most 64 KiB, or a link to one.
        environ: variables ``MIPRO_WALK_<KEY>``. Without it the process's own, and the user's file where it usually
            lies; with it nothing else of this machine is looked at.
        flags: values of command line options by key name; ``None`` means not given.
        user_file: the user's own configuration, which counts for every project; it need not exist.

    Raises:
        ConfigError: not readable, not TOML, or with every problem in it, each naming key and line.
    """
    known = os.environ if environ is None else environ
    if environ is None and user_file is None:
        user_file = paths.user_config_file(known)
    draft = _read_draft(Path(path))
    user = None if user_file is None or not user_file.exists() else _read_user_draft(user_file)
    for key, place in OVERRIDES.items():
        name = ENV_PREFIX + key.upper()
        if known.get(name, "").strip():
            here = _place(draft, place)
            draft.override(here, _from_text(here, known[name].strip()), name)
    for key, value in (flags or {}).items():
        if value is not None:
            if key not in OVERRIDES:
                raise ConfigError(f"{show(key)} cannot be set from the command line.", "Set it in the file.")
            draft.override(_place(draft, OVERRIDES[key]), value, "flag")
    if user is not None:
        _put_below(draft, user)
    return finish(draft, load_trust(environ))


def _read_draft(path: Path) -> Draft:
    lines, document = _parse_toml(read_text(path), path)
    return read_document(document, Problems(str(path), lines), is_file=True)


def _read_user_draft(path: Path) -> Draft:
    """Read the user's own file, of which every value has to be right by itself.

    Raises:
        ConfigError: it is not this user's alone, or something in it is wrong.
    """
    if not paths.is_own_file(path):
        raise ConfigError(
            f"The user configuration {str(path)!r} is not yours alone.",
            f"Make it your own file that nobody else may write, or set {paths.NO_USER_CONFIG_VARIABLE}=1.",
        )
    draft = _read_draft(path)
    for name in FREE_TABLES:
        where = f"{ROOT}.{name}"
        if where in draft.problems.lines:
            draft.problems.add(where, f"{where}{draft.problems.at(where)}: belongs in a project's file, not in yours.")
    for table in SECTIONS:
        checked_section(draft, table)
    draft.problems.raise_if_any()
    return draft


def _put_below(draft: Draft, user: Draft) -> None:
    """Put the user's values where nothing else is said.

    What is said of a model counts only while its provider is the one the user's file speaks of: a base URL of one
    server means nothing for another.
    """
    for place, value in user.values.items():
        if place in draft.values or not _speaks_of_the_same_provider(draft, user, place):
            continue
        written = user.sources[place]
        draft.override(place, value, f"{written} (user file {user.problems.origin}:{user.problems.line(written) or 1})")
    draft.ignored += [f"{name} (user file)" for name in user.ignored]


def _speaks_of_the_same_provider(draft: Draft, user: Draft, place: Place) -> bool:
    source = ROLE_TABLES.get(META if place == (MIPRO, "meta_model") else place[0])
    if source is None or place == source:
        return True
    return bool(_provider(draft, source, user) == _provider(user, source))


def _provider(draft: Draft, source: Place, below: Draft | None = None) -> Any:
    """Return the provider of a role: as named, else the policy's, else the default."""
    policy = ROLE_TABLES[POLICY]
    for place in dict.fromkeys((source, policy)):
        for layer in filter(None, (draft, below)):
            if place in layer.values:
                return layer.values[place]
    return "local"


def _place(draft: Draft, place: Place) -> Place:
    """Return where an override goes: a key that both algorithms have to the one that is chosen."""
    is_gepas = draft.algorithm == "gepa" and place[1] in SECTIONS[GEPA].model_fields
    return (GEPA, place[1]) if is_gepas else place


def read_text(path: Path, *, hint: str = "", large_hint: str = LARGE_HINT, allow_bom: bool = False) -> str:
    """Return the file's text, line ends as in the file.

    Args:
        path: a regular file of at most 64 KiB, or a link to one.
        hint, large_hint: what to do about a file that is missing, or too large.
        allow_bom: leave out the mark that some editors put before UTF-8, instead of refusing it.

    Raises:
        ConfigError: missing, not a regular file, too large, or not plain UTF-8.
    """
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {str(path)!r}.", hint or f"{CREATE_HINT} {path}") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise ConfigError(f"Cannot read {str(path)!r}: {reason}.", "Name a readable TOML file.") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{str(path)!r} is not a regular file.", "Name a TOML file.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{str(path)!r} is larger than {MAX_BYTES // 1024} KiB.",
            large_hint,
        )
    return _decode(content.removeprefix(codecs.BOM_UTF8) if allow_bom else content, path)


def _decode(content: bytes, path: Path) -> str:
    fix = "Save the file as UTF-8 without a byte order mark."
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        kind = "UTF-16" if content[0] != 0xEF else "UTF-8"
        raise ConfigError(f"{str(path)!r} starts with a {kind} byte order mark.", fix)
    if b"\x00" in content:
        line = content[: content.index(b"\x00")].count(b"\n") + 1
        raise ConfigError(f"{str(path)!r} holds a NUL byte (line {line}).", fix)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{str(path)!r} is not UTF-8 (line {line}).", fix) from None


def _parse_toml(text: str, path: Path) -> tuple[dict[str, int], dict[str, Any]]:
    try:
        return scan_lines(text), tomllib.loads(text)
    except ConfigError as exc:
        raise ConfigError(f"{str(path)!r}: {exc.message}", exc.fix) from None
    except RecursionError:
        raise ConfigError(f"{str(path)!r} is nested too deeply.", "Remove the nesting.") from None
    except ValueError as exc:  # TOMLDecodeError is one; so is an int of too many digits
        reason = str(exc).replace("\n", " ")
        if not isinstance(exc, tomllib.TOMLDecodeError):
            reason = "a number has too many digits"
        raise ConfigError(f"{str(path)!r} is not valid TOML: {_short(reason)}.", "Correct that line.") from None


def _short(reason: str) -> str:
    """Return a parser's message with anything unprintable escaped, cut to 200 characters."""
    return printable(reason)[:200].rstrip(".")


def _from_text(place: Place, text: str) -> Any:
    """Return a variable's text as the type its key wants; text that does not fit stays text and is refused later."""
    kind = plain_type(SECTIONS[place[0]].model_fields[place[1]].annotation)
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind is int and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if kind is float and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{0,18})?", text):
        return float(text)
    return text
