"""Killed and resumed is never interrupted: the same calls, events and result, and nothing made twice."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing

import pytest

from mipro_walk.core.evaluation import TIME
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.proposer import MetaModelProposer
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import IncompleteError, PrerequisiteError
from mipro_walk.ledger import Ledger, RecordedEvaluator, RecordedStops
from mipro_walk.ledger.replay import PAUSE_AFTER_FAILURES
from mipro_walk.ledger.store import Attempt
from mipro_walk.types import Candidate, Event, Outcome, Rollout
from tests.fakes.landscape import make_task
from tests.ledger.recorded_runs import Killed, Runner, made_once, new_job, run_recorded


def run_once(ledger, job_id, runner, events, max_concurrent=1):
    def search(evaluator, completions, stops):
        settings = OptimizerSettings(num_demos=4, rng_seed=3)
        proposer = MetaModelProposer(completions)
        return optimize(make_task(), evaluator, proposer, settings, stops=stops, emit=events.append)

    return run_recorded(ledger, job_id, runner, search, max_concurrent)


def picture(result):
    return [t.as_dict() for t in result.trials], result.winner, result.test, dict(result.refused)


@pytest.mark.parametrize("dies_at", [0, 1, 5, 14, 30, 55, 80, 120, 200])
def test_killed_at_any_call_and_resumed_gives_the_undisturbed_run_and_makes_no_recorded_call_again(ledger, dies_at):
    undisturbed_events: list[Event] = []
    whole = Runner()
    undisturbed = run_once(ledger, new_job(ledger), whole, undisturbed_events)

    job_id = new_job(ledger)
    first = Runner(dies_at)
    with pytest.raises(Killed):
        run_once(ledger, job_id, first, [])
    second, events = Runner(), []
    resumed = run_once(ledger, job_id, second, events)

    assert picture(resumed) == picture(undisturbed)
    assert events == undisturbed_events
    assert made_once(whole, first, second)


def test_concurrency_does_not_change_the_run(ledger):
    one = run_once(ledger, new_job(ledger), Runner(), [])
    four = run_once(ledger, new_job(ledger), Runner(), [], max_concurrent=4)
    assert picture(one) == picture(four)


def test_decisions_of_the_clock_are_replayed_and_not_made_again(ledger):
    job_id = new_job(ledger)

    class Clock:
        def __init__(self, answers):
            self.answers = answers

        def check(self):
            return self.answers.pop(0)

    first = RecordedStops(ledger, job_id, Clock([None, TIME]))
    assert [first.check(), first.check()] == [None, TIME]
    again = RecordedStops(ledger, job_id, Clock([]))
    assert [again.check(), again.check()] == [None, TIME]


def test_killed_at_any_moment_and_however_slow_the_disk_no_more_rollouts_are_lost_than_may_be_open(ledger, monkeypatch):
    job_id, record, made, durable, lost = new_job(ledger), ledger.record_all, [], [], []

    def run(rollout):
        made.append(rollout)
        lost.append(len(made) - len(durable))  # what a kill at this moment would have to make again
        return Outcome(1.0)

    def slow(job_id, kind, values):
        time.sleep(0.02)
        record(job_id, kind, values)
        durable.extend(values)

    monkeypatch.setattr(ledger, "record_all", slow)
    assert len(evaluate(ledger, job_id, run, 24, max_concurrent=4)) == len(durable) == 24
    assert max(lost) <= 4


def evaluate(ledger, job_id, run, rows, max_concurrent=1):
    """Evaluate one batch whose rollouts are made by ``run``."""
    with closing(RecordedEvaluator(ledger, job_id, "c", run, max_concurrent)) as evaluator:
        return evaluator.evaluate([Rollout(Candidate("x"), "val", seed) for seed in range(rows)])


def outcome_batch(ledger, outcomes, job_id):
    """Evaluate one batch whose rollouts end as scripted by seed."""
    return evaluate(ledger, job_id, lambda rollout: outcomes[rollout.seed], len(outcomes))


def test_few_failures_are_recorded_as_excluded(ledger):
    job_id = new_job(ledger)
    outcomes = [Outcome(1.0), Outcome(None, None, "boom"), Outcome(0.0)]
    assert outcome_batch(ledger, outcomes, job_id) == outcomes
    assert len(ledger.recordings(job_id, "rollout")) == 3


class Flaky:
    """Fails the rollouts of some seeds so often, then answers; ``None`` is always."""

    def __init__(self, failures: dict[int, int | None], dead_after: int | None = None) -> None:
        self.left = dict(failures)
        self.dead_after = dead_after
        self.made: list[int] = []

    def __call__(self, rollout: Rollout) -> Outcome:
        self.made.append(rollout.seed)
        left = self.left.get(rollout.seed, 0)
        if left is None or left > 0 or (self.dead_after is not None and len(self.made) > self.dead_after):
            self.left[rollout.seed] = left - 1 if left else left
            return Outcome(None, None, "boom")
        return Outcome(rollout.seed % 2 + 0.0)


def test_rollouts_that_failed_are_asked_again_after_the_others(ledger):
    flaky = Flaky({1: 1, 4: 1})
    assert evaluate(ledger, new_job(ledger), flaky, 6) == [Outcome(seed % 2 + 0.0) for seed in range(6)]
    assert flaky.made == [0, 1, 2, 3, 4, 5, 1, 4]


@pytest.mark.parametrize("max_concurrent", [1, 4])
def test_rows_that_never_answer_are_asked_three_times_and_then_left_out(ledger, max_concurrent):
    job_id, failing = new_job(ledger), list(range(1, 40, 3))
    flaky = Flaky(dict.fromkeys(failing))
    evaluate(ledger, job_id, flaky, 40, max_concurrent)
    assert [Counter(flaky.made)[seed] for seed in failing] == [3] * len(failing)
    assert len(flaky.made) == 40 + 2 * len(failing) + 1  # one more, to see whether anything is answered
    recorded = [o for o in ledger.recordings(job_id, "rollout").values() if o["score"] is None]
    assert len(recorded) == len(failing) > PAUSE_AFTER_FAILURES

    replayed = Flaky({})
    assert [o.score is None for o in evaluate(ledger, job_id, replayed, 40)] == [s in failing for s in range(40)]
    assert replayed.made == []


def test_outage_that_meets_the_last_rows_of_a_batch_pauses_and_excludes_none(ledger):
    job_id = new_job(ledger)
    with pytest.raises(IncompleteError, match="3 of 20 rollouts failed"):
        evaluate(ledger, job_id, Flaky({}, dead_after=17), 20)
    assert len(ledger.recordings(job_id, "rollout")) == 17
    resumed = Flaky({})
    assert all(outcome.is_known for outcome in evaluate(ledger, job_id, resumed, 20))
    assert resumed.made == [17, 18, 19]


def test_many_failures_pause_and_only_what_was_measured_is_recorded(ledger):
    job_id = new_job(ledger)
    outcomes = [Outcome(1.0), Outcome(None, None, "boom"), Outcome(None, None, "boom")]
    with pytest.raises(IncompleteError, match="2 of 3 rollouts failed without a score; the last said: boom"):
        outcome_batch(ledger, outcomes, job_id)
    assert len(ledger.recordings(job_id, "rollout")) == 1
    repaired = [Outcome(1.0)] * 3
    assert outcome_batch(ledger, repaired, job_id) == repaired


def test_outage_stops_after_a_few_calls_and_not_after_the_whole_batch(ledger):
    made = []

    def fail(rollout):
        made.append(rollout)
        return Outcome(None, None, "down")

    with pytest.raises(IncompleteError):
        evaluate(ledger, new_job(ledger), fail, 100)
    assert len(made) <= PAUSE_AFTER_FAILURES + 1


def test_events_of_a_replay_are_stored_once(ledger):
    job_id = new_job(ledger)
    for _ in range(2):
        for ordinal in (1, 2):
            ledger.add_event(job_id, Event("t", f"event {ordinal}"), ordinal)
    ledger.add_event(job_id, Event("lifecycle", "resumed"))
    assert [(e["seq"], e["message"]) for e in ledger.events(job_id)] == [(1, "event 1"), (2, "event 2"), (3, "resumed")]
    assert [e["seq"] for e in ledger.events(job_id, since_seq=1, limit=1)] == [2]


def test_same_idempotency_key_is_the_same_job(ledger):
    first, second = (
        ledger.create_job({}, algorithm="mipro", launch={}, request_hash="a", idempotency_key="k") for _ in range(2)
    )
    assert first.job_id == second.job_id
    assert first.job_id.startswith("pl_")


def test_updated_at_changes_with_every_update(ledger):
    job_id = new_job(ledger)
    seen = {ledger.job(job_id).updated_at}
    for _ in range(20):
        ledger.update_job(job_id, status="running")
        seen.add(ledger.job(job_id).updated_at)
    assert len(seen) == 21


def test_unknown_price_makes_the_cost_unknown_and_never_zero(ledger):
    job_id = new_job(ledger)

    def call(cost):
        return Attempt("policy", "t", 1, "p", "m", "ok", 200, None, 10, 2, 0, cost, 0.1, "now")

    ledger.add_call(job_id, call(0.5))
    assert ledger.usage(job_id)["policy"].cost_usd == 0.5
    ledger.add_call(job_id, call(None))
    usage = ledger.usage(job_id)["policy"]
    assert usage.cost_usd is None
    assert (usage.calls, usage.prompt_tokens) == (2, 20)


def test_database_file_is_private_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    Ledger(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"this is not a database, it is a text that is long enough to be read" * 50)
    with pytest.raises(PrerequisiteError, match="is damaged"):
        Ledger(f"sqlite:///{path}")
