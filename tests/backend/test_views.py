"""The live chart: what events become, and how often it is drawn."""

from __future__ import annotations

import pytest

from mipro_walk.backend import views
from mipro_walk.backend.views import MIN_SECONDS, SHARE_OF_TIME, Views, history_of
from mipro_walk.report.charts import progression as chart
from mipro_walk.types import Event

TRIAL = {
    "instruction": 1,
    "demo_set": 2,
    "minibatch_score": 0.5,
    "num_seeds": 6,
    "estimate": 0.4,
    "estimate_sd": 0.1,
    "best_score": 0.5,
    "startup": True,
}


class Stopwatch:
    """A clock that drawing moves by ``cost`` seconds."""

    def __init__(self, monkeypatch, cost):
        self.now, self.drawn = 0.0, []
        monkeypatch.setattr(chart, "progression", self._draw)
        self.cost = cost

    def __call__(self):
        return self.now

    def _draw(self, history):
        self.now += self.cost
        self.drawn.append(len(history["iterations"]))
        return f"<svg>{len(history['iterations'])}</svg>"


@pytest.fixture
def job(ledger):
    return ledger.create_job({}, algorithm="mipro", launch={}, request_hash="h")


def add_trial(ledger, job):
    ledger.add_event(job.job_id, Event(views.TRIAL, "a trial", TRIAL))


def test_chart_of_a_running_job_is_real_svg_with_a_mark_for_each_trial(ledger, job):
    assert Views(ledger).chart(job) == {"svg": None, "trials": 0}
    for _ in range(3):
        add_trial(ledger, job)
    found = Views(ledger).chart(job)
    assert found["trials"] == 3
    assert found["svg"].startswith("<svg ")
    assert found["svg"].count("pooled 0.40") == 3


@pytest.mark.parametrize(("cost", "pause"), [(0.01, MIN_SECONDS), (1.0, SHARE_OF_TIME)])
def test_chart_is_drawn_again_only_for_news_and_after_a_pause(ledger, job, monkeypatch, cost, pause):
    watch = Stopwatch(monkeypatch, cost)
    seen = Views(ledger, watch)
    add_trial(ledger, job)
    assert [seen.chart(job)["trials"], seen.chart(job)["trials"]] == [1, 1]
    add_trial(ledger, job)
    watch.now += pause - 0.1
    assert seen.chart(job)["trials"] == 1
    watch.now += 0.2
    assert seen.chart(job)["trials"] == 2
    watch.now += 1_000
    assert seen.chart(job)["trials"] == 2
    assert watch.drawn == [1, 2]


def test_last_trial_of_an_ended_job_is_drawn_at_once(ledger, job, monkeypatch):
    watch = Stopwatch(monkeypatch, 1.0)
    seen = Views(ledger, watch)
    add_trial(ledger, job)
    seen.chart(job)
    add_trial(ledger, job)
    ledger.update_job(job.job_id, status="succeeded")
    assert seen.chart(ledger.job(job.job_id))["trials"] == 2


def test_members_of_gepas_population_are_trials_too_and_the_first_one_is_the_baseline():
    members = [(0, 0.3, 0.3), (3, 0.6, 0.7)]
    events = [
        {
            "type": views.GEPA_TRIAL,
            "data": {"mean": mean, "completed": 12, "total": 12, "instruction": index, "best_score": best},
        }
        for index, mean, best in members
    ]
    history = history_of(events)
    assert history["baseline"] == {"score": 0.3, "n": 12}
    assert "Instruction 3: own score 0.60 (n=12)" in chart.progression(history)
