"""The ledger: jobs, recorded calls, outcomes and events in one SQL database. It is the truth; files are views."""

from mipro_walk.ledger.replay import RecordedCompletions, RecordedEvaluator, RecordedStops
from mipro_walk.ledger.requests import RecordedRequests, recorded_requests
from mipro_walk.ledger.store import Attempt, Job, Ledger

__all__ = [
    "Attempt",
    "Job",
    "Ledger",
    "RecordedCompletions",
    "RecordedEvaluator",
    "RecordedRequests",
    "RecordedStops",
    "recorded_requests",
]
