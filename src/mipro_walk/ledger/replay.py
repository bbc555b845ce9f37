"""Resume is replay: recorded calls answer at once, others are made and recorded before they are used.

A rollout keeps its place among the open ones until its score is durable. So ``max_concurrent`` rollouts are the most
that a killed process has to make again, however slow the disk.

Each class here wraps what the optimizer asks (evaluator, proposer's completions, stops). The optimizer runs
from its start each time; it cannot tell a recorded answer from a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from mipro_walk.core.evaluation import Stops
from mipro_walk.core.proposer import Complete
from mipro_walk.errors import IncompleteError, MiproWalkError
from mipro_walk.ledger.store import Ledger
from mipro_walk.types import Message, Outcome, Rollout, fingerprint

PAUSE_AFTER_FAILURES = 8
"""So many failed rollouts in a row, none answered between them, are an outage and not a prompt."""
PAUSE_UNKNOWN_SHARE = 0.5
"""A batch of which more than this share is unknown pauses the run: it says nothing about the candidate."""
MORE_ROUNDS = 2
"""How often the failed rollouts of a batch are asked again before they are recorded as unknown."""


OnOutcome = Callable[[Outcome, bool], None]


class RolloutRunner(Protocol):
    """Makes one rollout for real; safe to call from several threads. A failure is an outcome without a score."""

    def __call__(self, rollout: Rollout) -> Outcome:
        """Return how it ended."""
        ...


def rollout_identity(context_hash: str, rollout: Rollout) -> str:
    """Return the SHA-256 of everything that determines the outcome of a rollout."""
    return fingerprint([context_hash, rollout.candidate.prompt_hash, rollout.split, rollout.seed])


class RecordedEvaluator:
    """An evaluator that never makes a recorded rollout again.

    Scores are recorded as they arrive. Rollouts that failed are asked again once the others have ended. What is still
    unknown then is recorded (as excluded) only when the batch as a whole is kept; if too many are unknown, or nothing
    is answered any more, the run pauses instead, and resuming tries those rollouts again.
    """

    def __init__(
        self,
        ledger: Ledger,
        job_id: str,
        context_hash: str,
        run: RolloutRunner,
        max_concurrent: int,
        on_outcome: OnOutcome = lambda _outcome, _made: None,
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """``context_hash`` covers all that determines an outcome beside prompt and row: model, data, parameters.

        ``on_outcome`` hears of each outcome, and whether it was made now. ``known`` are outcomes of other jobs by
        identity, which answer as well.
        """
        self._ledger = ledger
        self._job_id = job_id
        self._context_hash = context_hash
        self._run = run
        self._max_concurrent = max(1, max_concurrent)
        self._pool = ThreadPoolExecutor(max_workers=self._max_concurrent, thread_name_prefix="rollout")
        self._recorded = {**(known or {}), **ledger.recordings(job_id, "rollout")}
        self._on_outcome = on_outcome

    def close(self) -> None:
        """Let the calls in flight end, start no others."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score every rollout once, in order. Raises IncompleteError if too many fail."""
        identities = [self.identity(rollout) for rollout in rollouts]
        batch = dict(zip(identities, rollouts, strict=True))
        missing = [i for i, identity in enumerate(identities) if identity not in self._recorded]
        failed = self._ask_again(batch, self._make({identities[i]: rollouts[i] for i in missing}, PAUSE_AFTER_FAILURES))
        if len(failed) > PAUSE_UNKNOWN_SHARE * len(rollouts):
            raise _outage(next(iter(failed.values())), len(failed), len(rollouts))
        self._ledger.record_all(self._job_id, "rollout", {i: outcome.as_dict() for i, outcome in failed.items()})
        self._remember(failed)
        outcomes = [Outcome.from_dict(self._recorded[identity]) for identity in identities]
        for index in sorted(set(range(len(rollouts))) - set(missing)):
            self._on_outcome(outcomes[index], False)
        return outcomes

    def unrecorded(self, rollouts: Sequence[Rollout]) -> int:
        """Return how many of these would have to be made."""
        return sum(self.identity(rollout) not in self._recorded for rollout in rollouts)

    def identity(self, rollout: Rollout) -> str:
        """Return the SHA-256 of everything that determines the outcome."""
        return rollout_identity(self._context_hash, rollout)

    def _ask_again(self, batch: Mapping[str, Rollout], failed: Mapping[str, Outcome]) -> Mapping[str, Outcome]:
        """Make what failed a few times more; return what fails each time, in the order of the batch.

        Failures in a row say nothing here: these may be rows that cannot be answered. So the last round begins with a
        rollout that can be.
        """
        for rounds_left in reversed(range(MORE_ROUNDS)):
            if failed and not rounds_left:
                self._raise_if_nothing_is_answered(batch, failed)
            again = {identity: rollout for identity, rollout in batch.items() if identity in failed}
            failures = self._make(again, most_in_a_row=len(again) + 1)
            failed = {identity: failures[identity] for identity in again if identity in failures}
        return failed

    def _raise_if_nothing_is_answered(self, batch: Mapping[str, Rollout], failed: Mapping[str, Outcome]) -> None:
        """Ask for a recorded score once more, to see whether it is the rows that fail. The new answer is dropped."""
        scored = (r for identity, r in batch.items() if self._recorded.get(identity, {}).get("score") is not None)
        answered = next(scored, None)
        if answered is None or not self._run(answered).is_known:
            raise _outage(next(iter(failed.values())), len(failed), len(batch))

    def _make(self, missing: Mapping[str, Rollout], most_in_a_row: int) -> dict[str, Outcome]:
        """Run what is missing and record what was measured; return the failures.

        No more than the pool works on is handed out at a time, so that an outage or a pause costs few calls.

        Raises:
            IncompleteError: ``most_in_a_row`` rollouts failed and none was answered between them.
        """
        waiting = iter(missing.items())
        in_flight: dict[Future[Outcome], str] = {}
        failed: dict[str, Outcome] = {}
        in_a_row = 0
        try:
            while self._hand_out(waiting, in_flight):
                ended, _ = wait(in_flight, return_when=FIRST_COMPLETED)
                outcomes = {in_flight[future]: future.result() for future in ended}
                for identity, outcome in outcomes.items():
                    in_a_row = 0 if outcome.is_known else in_a_row + 1
                    if not outcome.is_known:
                        failed[identity] = outcome
                    if in_a_row >= most_in_a_row:
                        raise _outage(outcome, in_a_row, in_a_row)
                for future in ended:
                    del in_flight[future]
                self._remember(_known(outcomes))
        except BaseException:
            self._keep_what_is_in_flight(in_flight)
            raise
        return failed

    def _hand_out(self, waiting: Iterator[tuple[str, Rollout]], in_flight: dict[Future[Outcome], str]) -> bool:
        """Fill the pool; return whether anything is in flight."""
        for identity, rollout in islice(waiting, self._max_concurrent - len(in_flight)):
            in_flight[self._pool.submit(self._run_and_record, identity, rollout)] = identity
        return bool(in_flight)

    def _run_and_record(self, identity: str, rollout: Rollout) -> Outcome:
        """Make one rollout, in the pool; return once its score is durable."""
        outcome = self._run(rollout)
        if outcome.is_known:
            self._ledger.record(self._job_id, "rollout", identity, outcome.as_dict())
        return outcome

    def _keep_what_is_in_flight(self, in_flight: Mapping[Future[Outcome], str]) -> None:
        """Wait for the calls that are already being paid for."""
        for future, identity in in_flight.items():
            with suppress(MiproWalkError):
                self._remember(_known({identity: future.result()}))

    def _remember(self, outcomes: Mapping[str, Outcome]) -> None:
        """Let what is durable answer from now on."""
        self._recorded |= {identity: outcome.as_dict() for identity, outcome in outcomes.items()}
        for outcome in outcomes.values():
            self._on_outcome(outcome, True)


class RecordedCompletions:
    """Meta-model completions, numbered in the order in which the run asks for them."""

    def __init__(self, ledger: Ledger, job_id: str, context_hash: str, complete: Complete) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._context_hash = context_hash
        self._complete = complete
        self._recorded = ledger.recordings(job_id, "completion")
        self._asked = 0

    def __call__(self, messages: list[Message], temperature: float) -> str:
        """Return the recorded text, or ask and record."""
        identity = fingerprint([self._context_hash, self._asked, messages, temperature])
        self._asked += 1
        if identity not in self._recorded:
            value = {"text": self._complete(messages, temperature)}
            self._ledger.record(self._job_id, "completion", identity, value)
            self._recorded[identity] = value
        return str(self._recorded[identity]["text"])


class RecordedStops:
    """Decisions that depend on the clock, on money or on a person: made once, then replayed."""

    def __init__(self, ledger: Ledger, job_id: str, inner: Stops) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._inner = inner
        self._recorded = ledger.recordings(job_id, "decision")
        self._asked = 0

    def check(self) -> str | None:
        """Return the recorded answer, or ask and record."""
        identity = str(self._asked)
        self._asked += 1
        if identity not in self._recorded:
            value = {"reason": self._inner.check()}
            self._ledger.record(self._job_id, "decision", identity, value)
            self._recorded[identity] = value
        reason: str | None = self._recorded[identity]["reason"]
        return reason


def _known(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    return {identity: outcome for identity, outcome in outcomes.items() if outcome.is_known}


def _outage(outcome: Outcome, failed: int, asked: int) -> IncompleteError:
    return IncompleteError(
        f"{failed} of {asked} rollouts failed without a score; the last said: {outcome.reason}",
        "Nothing is lost. Repair the cause, then resume: recorded rollouts are not paid again.",
    )
