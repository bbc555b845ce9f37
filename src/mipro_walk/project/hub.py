"""Data sets of the hub, through ``datasets``, always at a commit: a branch would move under a project."""

from __future__ import annotations

from typing import Any

from mipro_walk.errors import ConfigError, UnreachableError
from mipro_walk.project.records import from_records, name_classes
from mipro_walk.project.rows import Table, did_you_mean

OFFLINE_FIX = "Check the network and the name, or download the file elsewhere and give its path."


def read_hub(name: str, *, revision: str | None = None, config: str | None = None, split: str | None = None) -> Table:
    """Return one split of a hub data set; ``Table.revision`` is the commit it was read at.

    Args:
        revision: commit, tag or branch; ``None`` is the newest commit, which is looked up and pinned.
        config: the data set's configuration, where it has several.
        split: ``None`` is ``train``.

    Raises:
        UnreachableError: the hub cannot be reached, or the data set cannot be loaded.
        ConfigError: there is no such split, or nothing in it.
    """
    if name.count("/") > 1 or not all(part.strip() for part in name.split("/")):
        raise ConfigError(f"{name!r} is not the name of a hub data set.", "Write owner/name.")
    commit = _commit(name, revision)
    import datasets

    wanted = split or "train"
    try:
        datasets.disable_progress_bars()
        loaded = datasets.load_dataset(name, config, revision=commit)
    # Offline, proxy, authentication and parsing failures have no common base class in `datasets`.
    except Exception as exc:
        raise _unreachable(name, exc) from exc
    if wanted not in loaded:
        known = [str(key) for key in loaded]
        raise ConfigError(
            f"{name} has no split {wanted!r}.{did_you_mean(wanted, known)}",
            f"Pass --hub-split with {', '.join(known)}.",
        )
    return _as_table(f"{name}@{commit[:12]} ({wanted})", loaded[wanted], commit)


def _commit(name: str, revision: str | None) -> str:
    import huggingface_hub

    try:
        return str(huggingface_hub.HfApi().dataset_info(name, revision=revision).sha)
    except Exception as exc:  # as above
        raise _unreachable(name, exc) from exc


def _unreachable(name: str, exc: Exception) -> UnreachableError:
    return UnreachableError(f"The hub data set {name} could not be loaded ({type(exc).__name__}).", OFFLINE_FIX)


def _as_table(name: str, split: Any, commit: str) -> Table:
    from dataclasses import replace

    records: list[dict[str, Any]] = split.to_list()
    name_classes(records, {column: list(f.names) for column, f in split.features.items() if hasattr(f, "int2str")})
    return replace(from_records(enumerate(records, 1), name, origin="hub data set"), revision=commit)
