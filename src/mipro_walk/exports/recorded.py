"""Reading a job's recordings from the ledger, and telling which rollout each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mipro_walk.exports.source import Document, Recorded
from mipro_walk.ledger import Ledger
from mipro_walk.types import Candidate, Example, Rollout, Split, fingerprint

SPLITS: tuple[Split, ...] = ("train", "val", "test")
Key = tuple[int, int]


def read_recorded(ledger: Ledger, job_id: str) -> Recorded:
    """Return what the ledger recorded of a job."""
    context = ledger.recordings(job_id, "context").get("context") or {}
    rows = ledger.recordings(job_id, "rows")
    return Recorded(
        context_hash=str(context.get("hash", "")),
        rows={split: [Example(*row) for row in value["rows"]] for split, value in rows.items()},
        outcomes=ledger.recordings(job_id, "rollout"),
        usage=ledger.usage_by_tag(job_id),
    )


def candidates(history: Document, winner: Key, recorded: Recorded) -> dict[Key, Candidate]:
    """Return every candidate that may have been asked: scored, baseline, winner and the winner's two halves.

    Of GEPA's these are its instructions, without demonstrations.
    """
    if history.get("algorithm") == "gepa":
        return {(entry["index"], 0): Candidate(entry["text"]) for entry in history["instructions"]}
    keys = {(trial["instruction"], trial["demo_set"]) for trial in history["iterations"]}
    keys |= {(0, 0), winner, (winner[0], 0), (0, winner[1])}
    train = {row.seed: row.as_demonstration() for row in recorded.rows.get("train", ())}
    texts = {entry["index"]: entry["text"] for entry in history["instructions"]}
    seeds = {entry["index"]: entry["seeds"] for entry in history["demo_sets"]}
    return {
        (i, d): Candidate(texts[i], tuple(train[seed] for seed in seeds[d]))
        for i, d in sorted(keys)
        if i in texts and d in seeds and all(seed in train for seed in seeds[d])
    }


def rollouts(recorded: Recorded, known: Mapping[Key, Candidate]) -> Iterator[tuple[Key, Rollout, Example, str]]:
    """Yield each recorded rollout that is one of these candidates on a row: its key, itself, its row, its identity."""
    for split in SPLITS:
        for key, candidate in known.items():
            prompt_hash = candidate.prompt_hash
            for row in recorded.rows.get(split, ()):
                identity = fingerprint([recorded.context_hash, prompt_hash, split, row.seed])
                if identity in recorded.outcomes:
                    yield key, Rollout(candidate, split, row.seed), row, identity
