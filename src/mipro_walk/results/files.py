"""Writing documents: whole or not at all, for the owner only, with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_walk.errors import PrerequisiteError
from mipro_walk.results.documents import JOB_METADATA


def write_documents(folder: Path, documents: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Write every document; ``job_metadata.json`` comes last and holds the others' SHA-256.

    Raises:
        PrerequisiteError: the folder cannot be written; no half-written file stays.
    """
    metadata = dict(documents.get(JOB_METADATA, {}))
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        checksums = {}
        for name in sorted(documents):
            if name != JOB_METADATA:
                data = encode(documents[name])
                checksums[name] = hashlib.sha256(data).hexdigest()
                written.append(_write(folder / name, data))
        if metadata:
            written.append(_write(folder / JOB_METADATA, encode({**metadata, "files": checksums})))
    except OSError as exc:
        raise PrerequisiteError(
            f"The results cannot be written to {folder}: {exc.strerror}.",
            "Free space or choose another folder with --results; the results stay in the ledger.",
        ) from exc
    return written


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of its file: UTF-8, two spaces, a newline at the end."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "replace")


def _write(path: Path, data: bytes) -> Path:
    """Write through a temporary file in the same folder: readers see the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
