"""Jobs written straight into the ledger: as large, or as hostile, as a test wants them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine, insert, update

from mipro_walk.ledger import Ledger, schema
from mipro_walk.ledger.store import utc_now
from mipro_walk.paths import home


def put_job(events: list[dict[str, Any]], **columns: Any) -> str:
    """Write a paused job with these events (type, message, data, level) and columns; return its id."""
    url = f"sqlite:///{home() / 'ledger.sqlite3'}"
    ledger = Ledger(url)
    config = {"prompt_learning": {"termination_config": {"budget": 1_000, "max_cost_usd": 1.0}}}
    job = ledger.create_job(config, algorithm="mipro", launch={}, request_hash="h")
    ledger.close()
    job_id = columns.get("job_id", job.job_id)
    engine = create_engine(url)
    with engine.begin() as connection:
        values = {"status": "paused", **columns}
        connection.execute(update(schema.jobs).where(schema.jobs.c.job_id == job.job_id).values(values))
        rows = [
            {"job_id": job_id, "seq": seq, "level": "info", "data": {}, "created_at": utc_now(), **event}
            for seq, event in enumerate(events, start=1)
        ]
        connection.execute(insert(schema.events), rows)
    engine.dispose()
    return str(job_id)


def trial(number: int, **data: Any) -> dict[str, Any]:
    """Return the event of one trial."""
    known = {
        "iteration": number,
        "instruction": number % 12,
        "demo_set": number % 7,
        "minibatch_score": 0.4 + (number % 50) / 100,
        "num_seeds": 20,
        "seeds": list(range(20)),
        "status": "complete",
        "startup": number < 100,
        "estimate": 0.4 + (number % 50) / 100,
        "estimate_sd": 0.05,
        "best_instruction": number % 12,
        "best_demo_set": number % 7,
        "best_score": 0.9,
        "best_n": 40,
        **data,
    }
    return {"type": "mipro.trial.complete", "message": f"  Iteration {number + 1}", "data": known}
