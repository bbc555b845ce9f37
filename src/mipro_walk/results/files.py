"""Writing documents: whole or not at all, for the owner only, with checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_walk.errors import PrerequisiteError
from mipro_walk.paths import write_private
from mipro_walk.results.names import JOB_METADATA


def write_documents(folder: Path, documents: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Write every document; ``job_metadata.json`` comes last and holds the others' SHA-256.

    Raises:
        PrerequisiteError: the folder cannot be written; no half-written file stays.
    """
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise PrerequisiteError(
            f"The folder {folder} cannot be made: {exc.strerror}.",
            "Choose another one with --results; the results stay in the ledger.",
        ) from exc
    for name in sorted(set(documents) - {JOB_METADATA}):
        write_private(folder / name, encode(documents[name]))
        written.append(folder / name)
    if documents.get(JOB_METADATA):
        _write_metadata(folder, documents, {})
        written.append(folder / JOB_METADATA)
    return written


def add_checksum(folder: Path, documents: Mapping[str, Mapping[str, Any]], name: str, data: bytes) -> None:
    """Write ``job_metadata.json`` again, with the SHA-256 of one more file beside the documents.

    Raises:
        PrerequisiteError: it cannot be written; the one without that file stays.
    """
    if documents.get(JOB_METADATA):
        _write_metadata(folder, documents, {name: data})


def _write_metadata(folder: Path, documents: Mapping[str, Mapping[str, Any]], others: Mapping[str, bytes]) -> None:
    files = {name: encode(documents[name]) for name in sorted(set(documents) - {JOB_METADATA})}
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in {**files, **others}.items()}
    write_private(folder / JOB_METADATA, encode({**documents[JOB_METADATA], "files": checksums}))


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of its file: UTF-8, two spaces, a newline at the end."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")
