"""A run of GEPA that was killed and resumed is one that was never interrupted: same calls, events and documents."""

from __future__ import annotations

import pytest

from mipro_walk.core.algorithms import Writer, run_algorithm
from mipro_walk.core.settings import GepaSettings
from mipro_walk.errors import IncompleteError
from mipro_walk.ledger import Ledger
from mipro_walk.results.documents import build_documents
from mipro_walk.results.files import encode
from mipro_walk.types import Event, Outcome
from tests.fakes.landscape import Landscape, make_task
from tests.ledger import recorded_runs
from tests.ledger.recorded_runs import Killed, Runner, made_once, run_recorded

BUDGET = 220


class GepaRunner(Runner):
    """Its landscape rewards instructions."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(dies_at, Landscape(instruction_gain=0.7))


def new_job(ledger: Ledger) -> str:
    return recorded_runs.new_job(ledger, "gepa")


def run_once(ledger, job_id, runner, events, max_concurrent=1):
    def search(evaluator, completions, stops):
        settings = GepaSettings(budget=BUDGET, rng_seed=3)
        writer = Writer("both", completions)
        return run_algorithm(make_task(), evaluator, writer, settings, stops=stops, emit=events.append)

    return run_recorded(ledger, job_id, runner, search, max_concurrent)


def picture(result):
    return {
        name: encode(document) for name, document in build_documents(make_task(), result, {"provider": "x"}).items()
    }


@pytest.fixture
def undisturbed(ledger):
    events: list[Event] = []
    runner = GepaRunner()
    return run_once(ledger, new_job(ledger), runner, events), events, runner


@pytest.mark.parametrize("dies_at", [0, 1, 20, 36, 37, 45, 60, 61, 62, 75, 100, 150, 230, 300])
def test_killed_at_any_call_and_resumed_gives_the_undisturbed_bytes_and_makes_no_recorded_call_again(
    ledger, undisturbed, dies_at
):
    result, undisturbed_events, whole = undisturbed
    assert len(result.members) > 2
    assert len(whole.made) > dies_at
    job_id, first, told = new_job(ledger), GepaRunner(dies_at), []
    with pytest.raises(Killed):
        run_once(ledger, job_id, first, told)
    second, events = GepaRunner(), []
    resumed = run_once(ledger, job_id, second, events)

    assert picture(resumed) == picture(result)
    assert events == undisturbed_events
    assert told == undisturbed_events[: len(told)]  # nothing was said that is not so
    assert made_once(whole, first, second)


def test_concurrency_does_not_change_the_run(ledger, undisturbed):
    four = run_once(ledger, new_job(ledger), GepaRunner(), [], max_concurrent=4)
    assert picture(four) == picture(undisturbed[0])


def test_a_replay_asks_nobody(ledger):
    job_id, first, second = new_job(ledger), GepaRunner(), GepaRunner()
    runs = [run_once(ledger, job_id, runner, []) for runner in (first, second)]
    assert second.made == []
    assert picture(runs[0]) == picture(runs[1])


class Outage(GepaRunner):
    """Answers until call ``dies_at``, then fails every call without a score."""

    def rollout(self, rollout):
        try:
            return super().rollout(rollout)
        except Killed:
            return Outcome(None, None, "503")


@pytest.mark.parametrize("dies_at", [10, 40, 66, 101])
def test_an_outage_pauses_the_run_and_resuming_gives_the_undisturbed_bytes(ledger, undisturbed, dies_at):
    result, undisturbed_events, _ = undisturbed
    job_id, told, events = new_job(ledger), [], []
    with pytest.raises((IncompleteError, Killed)):  # the meta-model of this script dies, too
        run_once(ledger, job_id, Outage(dies_at), told)
    resumed = run_once(ledger, job_id, GepaRunner(), events)
    assert picture(resumed) == picture(result)
    assert told == undisturbed_events[: len(told)]
