"""Tables of the ledger, and how a database is opened.

SQLite runs with the rollback journal and full synchronisation: the write-ahead log of the versions before 3.51.3
can lose a commit, and about 700 commits a second are enough.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from mipro_walk.errors import PrerequisiteError

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 10_000

metadata = MetaData()

schema_info = Table("schema_info", metadata, Column("version", Integer, nullable=False))

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("algorithm", String(16), nullable=False),
    Column("config", JSON, nullable=False),
    Column("launch", JSON, nullable=False),
    Column("idempotency_key", String(128), unique=True),
    Column("request_hash", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Column("started_at", String(40)),
    Column("finished_at", String(40)),
    Column("active_seconds", Float, nullable=False, default=0.0),
    Column("error", Text),
    Column("error_code", String(32)),
    Column("fix", Text),
    Column("stop_reason", String(64)),
    Column("best_score", Float),
    Column("documents", JSON),
)

recordings = Table(
    "recordings",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.job_id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("identity", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("recorded_at", String(40), nullable=False),
)
"""What a replay answers from: ``kind`` is rollout, completion or decision."""

calls = Table(
    "calls",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(64), ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("tag", String(128), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("provider", String(32), nullable=False),
    Column("model", String(128), nullable=False),
    Column("status", String(16), nullable=False),
    Column("http_status", Integer),
    Column("error", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("cost_usd", Float),
    Column("latency_seconds", Float, nullable=False),
    Column("started_at", String(40), nullable=False),
)
"""Every attempt that was made at a model, paid or not: money counts these, scores never do."""

events = Table(
    "events",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.job_id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("ordinal", Integer),
    Column("type", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("level", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
    UniqueConstraint("job_id", "ordinal"),
)
"""``ordinal`` numbers the events that a replay emits again; events about the job itself have none."""

environment_keys = Table(
    "environment_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("ciphertext_b64", Text, nullable=False),
    Column("updated_at", String(40), nullable=False),
)


def open_engine(url: str) -> Engine:
    """Open the database at a SQLAlchemy URL, make its tables if it is new, and check it.

    Raises:
        PrerequisiteError: the file is damaged, was written by a newer version, or cannot be written.
    """
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000}} if is_sqlite else {}
    if is_sqlite and parsed.database and parsed.database != ":memory:":
        _make_private_file(Path(parsed.database))
    engine = create_engine(url, **options)
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        with engine.begin() as connection:
            if is_sqlite and connection.execute(text("PRAGMA quick_check(1)")).scalar() != "ok":
                raise _damaged(url)
            metadata.create_all(connection)
            version = connection.execute(schema_info.select()).scalar()
            if version is None:
                connection.execute(schema_info.insert().values(version=SCHEMA_VERSION))
            elif version > SCHEMA_VERSION:
                raise PrerequisiteError(
                    f"The ledger has schema version {version}; this program knows {SCHEMA_VERSION}.",
                    "Use the newer mipro-walk that wrote it, or set MIPRO_WALK_HOME to another folder.",
                )
    except OperationalError as exc:
        raise PrerequisiteError(
            f"The ledger cannot be opened: {exc.orig}", "Check the folder's permissions and free space."
        ) from exc
    except DatabaseError as exc:
        raise _damaged(url) from exc
    return engine


def _make_private_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        raise PrerequisiteError(
            f"The ledger {path} cannot be written: {exc.strerror}.", "Set MIPRO_WALK_HOME to a folder you own."
        ) from exc


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = DELETE")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _damaged(url: str) -> PrerequisiteError:
    return PrerequisiteError(
        f"The ledger {make_url(url).database} is damaged: SQLite's check does not pass.",
        "Move the file away (keep it), or set MIPRO_WALK_HOME to another folder; a new ledger is then started.",
    )
