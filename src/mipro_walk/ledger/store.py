"""Reading and writing the ledger. Every write is durable before its result is used."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mipro_walk.ledger import schema
from mipro_walk.ledger.commits import Commits
from mipro_walk.types import Event, Usage

AT_ONCE = 500
"""Identities that are looked up in one query."""
TERMINAL = ("succeeded", "failed", "cancelled")
COMPARISON = "comparison"
"""The algorithm of the job that holds the calls of a comparison: no optimization, so no list of jobs shows it."""
MEASUREMENT = "measurement"
"""The same for the calls of saved prompts that are measured again."""
NO_JOBS = (COMPARISON, MEASUREMENT)


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the ledger holds it. Times are ISO 8601 in UTC."""

    job_id: str
    number: int
    status: str
    algorithm: str
    config: Mapping[str, Any]
    launch: Mapping[str, Any]
    created_at: str
    updated_at: str
    started_at: str | None
    finished_at: str | None
    active_seconds: float
    error: str | None
    error_code: str | None
    fix: str | None
    stop_reason: str | None
    best_score: float | None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a model. ``role`` is policy or meta; ``cost_usd`` is ``None`` when unknown."""

    role: str
    tag: str
    attempt: int
    provider: str
    model: str
    status: str
    http_status: int | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float | None
    latency_seconds: float
    started_at: str


class Ledger:
    """One open ledger. Safe to share between threads, whose writes share transactions (:mod:`.commits`)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine = schema.open_engine(url)
        self._commits = Commits(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # ---- jobs

    def create_job(
        self,
        config: Mapping[str, Any],
        *,
        algorithm: str,
        launch: Mapping[str, Any],
        request_hash: str,
        idempotency_key: str | None = None,
    ) -> Job:
        """Store a new queued job, or return the one that was stored with the same idempotency key."""
        now = utc_now()
        with self._commits.alone() as connection:
            if idempotency_key:
                found = connection.execute(
                    select(schema.jobs).where(schema.jobs.c.idempotency_key == idempotency_key)
                ).first()
                if found is not None:
                    return _job(found)
            number = (connection.execute(select(func.max(schema.jobs.c.number))).scalar() or 0) + 1
            job_id = f"pl_{secrets.token_hex(8)}"
            connection.execute(
                insert(schema.jobs).values(
                    job_id=job_id,
                    number=number,
                    status="queued",
                    algorithm=algorithm,
                    config=dict(config),
                    launch=dict(launch),
                    idempotency_key=idempotency_key,
                    request_hash=request_hash,
                    created_at=now,
                    updated_at=now,
                )
            )
        found_job = self.job(job_id)
        assert found_job is not None
        return found_job

    def job(self, job_id: str) -> Job | None:
        """Return one job, or ``None``."""
        with self._engine.connect() as connection:
            row = connection.execute(select(schema.jobs).where(schema.jobs.c.job_id == job_id)).first()
        return None if row is None else _job(row)

    def request_hash(self, job_id: str) -> str:
        """Return the hash of the body the job was submitted with."""
        with self._engine.connect() as connection:
            return str(
                connection.execute(
                    select(schema.jobs.c.request_hash).where(schema.jobs.c.job_id == job_id)
                ).scalar_one()
            )

    def list_jobs(self) -> list[Job]:
        """Return every job, newest first; what :data:`NO_JOBS` says is left out."""
        jobs = schema.jobs
        query = select(jobs).where(jobs.c.algorithm.not_in(NO_JOBS)).order_by(jobs.c.number.desc())
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [_job(row) for row in rows]

    def update_job(self, job_id: str, **values: Any) -> None:
        """Change columns of a job. ``updated_at`` always changes with them, even within a microsecond."""
        with self._commits.alone() as connection:
            before = connection.execute(
                select(schema.jobs.c.updated_at).where(schema.jobs.c.job_id == job_id)
            ).scalar_one()
            now = utc_now()
            values["updated_at"] = now if now > before else before + "+"
            connection.execute(update(schema.jobs).where(schema.jobs.c.job_id == job_id).values(**values))

    def documents(self, job_id: str) -> dict[str, Any] | None:
        """Return the result documents by file name, or ``None`` if there are none yet."""
        with self._engine.connect() as connection:
            value = connection.execute(
                select(schema.jobs.c.documents).where(schema.jobs.c.job_id == job_id)
            ).scalar_one_or_none()
        return value if value is None else dict(value)

    # ---- recordings

    def recordings(self, job_id: str, kind: str) -> dict[str, Any]:
        """Return ``identity -> value`` of everything recorded of one kind."""
        table = schema.recordings
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(table.c.identity, table.c.value).where(table.c.job_id == job_id, table.c.kind == kind)
            ).all()
        return {row.identity: row.value for row in rows}

    def recorded_scores(self, identities: Sequence[str]) -> dict[str, Any]:
        """Return ``identity -> value`` of rollouts that any job has measured; of several the latest."""
        table = schema.recordings
        found: dict[str, Any] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(identities), AT_ONCE):
                chosen = table.c.identity.in_(identities[start : start + AT_ONCE])
                query = select(table.c.identity, table.c.value).where(table.c.kind == "rollout", chosen)
                rows = connection.execute(query.order_by(table.c.recorded_at)).all()
                found |= {row.identity: row.value for row in rows if row.value["score"] is not None}
        return found

    def record(self, job_id: str, kind: str, identity: str, value: Mapping[str, Any]) -> None:
        """Write one recording. What is recorded once is never changed."""
        self.record_all(job_id, kind, {identity: value})

    def record_all(self, job_id: str, kind: str, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Write recordings by identity: all of them, or none if one cannot be written."""
        now = utc_now()
        rows = [
            {"job_id": job_id, "kind": kind, "identity": identity, "value": dict(value), "recorded_at": now}
            for identity, value in values.items()
        ]
        if rows:
            self._commits.write(lambda connection: connection.execute(insert(schema.recordings), rows))

    # ---- calls

    def add_call(self, job_id: str, call: Attempt) -> None:
        """Write one attempt at a model."""
        values = {name: getattr(call, name) for name in call.__slots__}
        self._commits.write(lambda connection: connection.execute(insert(schema.calls).values(job_id=job_id, **values)))

    def usage(self, job_id: str) -> dict[str, Usage]:
        """Return what a job has consumed so far, by role (policy, meta)."""
        table = schema.calls
        columns = (
            table.c.role,
            func.count().label("calls"),
            func.sum(table.c.prompt_tokens).label("prompt"),
            func.sum(table.c.completion_tokens).label("completion"),
            func.sum(table.c.cost_usd).label("cost"),
            func.count(table.c.cost_usd).label("priced"),
        )
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).where(table.c.job_id == job_id).group_by(table.c.role)).all()
        usage = {"policy": Usage(), "meta": Usage()}
        for row in rows:
            cost = float(row.cost or 0.0) if row.priced == row.calls else None
            usage[row.role] = Usage(row.calls, row.prompt or 0, row.completion or 0, cost)
        return usage

    def dearest_call(self, job_id: str, role: str) -> float:
        """Return what the dearest call of a role has cost so far, in US dollars; 0 without any."""
        table = schema.calls
        dearest = select(func.max(table.c.cost_usd)).where(table.c.job_id == job_id, table.c.role == role)
        with self._engine.connect() as connection:
            return float(connection.execute(dearest).scalar() or 0.0)

    def usage_by_tag(self, job_id: str) -> dict[str, Usage]:
        """Return what was consumed under each tag; a rollout's calls have :attr:`~mipro_walk.types.Rollout.tag`."""
        table = schema.calls
        with self._engine.connect() as connection:
            made = connection.execute(select(table).where(table.c.job_id == job_id)).all()
        usage: dict[str, Usage] = {}
        for call in made:
            used = Usage(1, call.prompt_tokens, call.completion_tokens, call.cost_usd)
            usage[call.tag] = usage.get(call.tag, Usage()) + used
        return usage

    def usage_by_phase(self, job_id: str) -> dict[str, Usage]:
        """Return what each phase has consumed, in their order: a call belongs to the phase that was open when it began.

        Phases open with their event, which a replay does not store again, and a replay makes calls only in the
        phase it had come to: so this holds for resumed jobs, too.
        """
        calls, events = schema.calls, schema.events
        opened = select(events.c.created_at, events.c.data).where(
            events.c.job_id == job_id, events.c.type == "mipro.phase"
        )
        with self._engine.connect() as connection:
            found = connection.execute(opened.order_by(events.c.seq)).all()
            made = connection.execute(select(calls).where(calls.c.job_id == job_id)).all()
        phases = [(row.created_at, str(row.data["name"])) for row in found]
        usage = {name: Usage() for _, name in phases}
        for call in made:
            if names := [name for since, name in phases if since <= call.started_at]:
                usage[names[-1]] += Usage(1, call.prompt_tokens, call.completion_tokens, call.cost_usd)
        return usage

    # ---- events

    def add_event(self, job_id: str, event: Event, ordinal: int | None = None) -> bool:
        """Append an event with the next ``seq``; an ``ordinal`` that is there already is not stored again."""
        return bool(self._commits.write(lambda connection: self._append(connection, job_id, event, ordinal)))

    def events(
        self, job_id: str, since_seq: int = 0, limit: int = 200, *, types: Sequence[str] = (), newest: bool = False
    ) -> list[dict[str, Any]]:
        """Return events after ``since_seq`` (exclusive), ascending.

        Args:
            types: only events of these types; empty means all.
            newest: give the last ``limit`` of them instead of the first.
        """
        table = schema.events
        query = select(table).where(table.c.job_id == job_id, table.c.seq > since_seq)
        if types:
            query = query.where(table.c.type.in_(types))
        query = query.order_by(table.c.seq.desc() if newest else table.c.seq).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            {
                "seq": row.seq,
                "type": row.type,
                "message": row.message,
                "level": row.level,
                "data": row.data,
                "created_at": row.created_at,
                "job_id": job_id,
            }
            for row in (reversed(rows) if newest else rows)
        ]

    def _append(self, connection: Connection, job_id: str, event: Event, ordinal: int | None) -> bool:
        table = schema.events
        if ordinal is not None and self._has_ordinal(connection, job_id, ordinal):
            return False
        last = connection.execute(select(func.max(table.c.seq)).where(table.c.job_id == job_id)).scalar() or 0
        connection.execute(
            insert(table).values(
                job_id=job_id,
                seq=last + 1,
                ordinal=ordinal,
                type=event.type,
                message=event.message,
                level=event.level,
                data=dict(event.data),
                created_at=utc_now(),
            )
        )
        return True

    @staticmethod
    def _has_ordinal(connection: Connection, job_id: str, ordinal: int) -> bool:
        table = schema.events
        query = select(table.c.seq).where(table.c.job_id == job_id, table.c.ordinal == ordinal)
        return connection.execute(query).first() is not None

    # ---- environment keys

    def store_environment_key(self, name: str, ciphertext_b64: str) -> None:
        """Keep a task app key, sealed."""
        table = schema.environment_keys
        values = {"ciphertext_b64": ciphertext_b64, "updated_at": utc_now()}
        with self._commits.alone() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(table).values(name=name, **values))
            except IntegrityError:
                connection.execute(update(table).where(table.c.name == name).values(**values))

    def environment_key(self, name: str) -> str | None:
        """Return a sealed task app key, or ``None``."""
        table = schema.environment_keys
        with self._engine.connect() as connection:
            value = connection.execute(select(table.c.ciphertext_b64).where(table.c.name == name)).scalar()
        return None if value is None else str(value)


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _job(row: Any) -> Job:
    return Job(**{name: getattr(row, name) for name in Job.__slots__})


def total_cost(usage: Mapping[str, Usage]) -> float | None:
    """Return the dollars of all roles together; ``None`` if a price is unknown."""
    costs: Sequence[float | None] = [part.cost_usd for part in usage.values()]
    return None if any(cost is None for cost in costs) else float(sum(cost or 0.0 for cost in costs))


def usage_as_dict(usage: Mapping[str, Usage]) -> dict[str, Any]:
    """Return the usage by role as plain data; an unknown price stays ``None``."""
    return {
        role: {
            "calls": part.calls,
            "prompt_tokens": part.prompt_tokens,
            "completion_tokens": part.completion_tokens,
            "cost_usd": part.cost_usd,
        }
        for role, part in usage.items()
    }
