"""Methods against each other on the real stack before a scripted model: shared answers, resume, cap, failures."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from mipro_walk.backend.comparison import forecasts, run_comparison
from mipro_walk.backend.comparison_order import Order
from mipro_walk.backend.in_process import load_data, run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.backend.stops import PauseRequestedError, Wishes
from mipro_walk.comparison.methods import METHODS, Method, chosen_methods
from mipro_walk.config import parse_config
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError
from mipro_walk.ledger import Ledger
from tests.backend.conftest import Stage, scripted_answer
from tests.fakes.openai_server import Scripted, ScriptedOpenAI

DATA = load_data()
ALL = tuple(METHODS)


class Heard:
    """Keeps what a comparison tells."""

    def __init__(self):
        self.started_runs, self.ended_runs, self.failures, self.outcomes = [], [], [], []
        self.on_outcome = lambda: None

    def notice(self, text):
        pass

    def started(self, name, number, total, planned):
        self.started_runs.append((name, number, total, planned))

    def event(self, event):
        pass

    def outcome(self, outcome, made):
        self.outcomes.append(made)
        self.on_outcome()

    def ended(self, run, recorded):
        self.ended_runs.append((run.name, recorded))

    def failed(self, missing):
        self.failures.append(missing)


@pytest.fixture
def bench(tmp_path, model):
    """Return what runs a comparison of methods with rng seeds, and the model's requests so far."""
    environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
    (tmp_path / "home").mkdir()
    settings = BackendSettings(home=tmp_path / "home", keys=("k" * 64,), environ=environ)

    def run(methods=ALL, rng_seeds=(0,), *, watch=None, wishes=None, cap=None, **mipro):
        chosen = [METHODS[m] if isinstance(m, str) else m for m in methods]
        order = Order(config_for(tmp_path, model, cap, **mipro), chosen, tuple(rng_seeds))
        return run_comparison(settings, order, DATA, watch or Heard(), wishes)

    run.settings = settings
    return run


def config_for(tmp_path, model, cap=None, **mipro):
    fields = {"test_pool": list(range(10)), "test_size": 10, "max_retries": 0, **mipro}
    document = Stage(tmp_path, model, task_app_url="http://127.0.0.1:8002").document(**fields)
    config = parse_config(document, origin="test")
    return config if cap is None else replace(config, settings=replace(config.settings, max_cost_usd=cap))


def questions(model):
    """Return how often the policy model was asked each question."""
    return Counter(json.dumps(body) for body in model.bodies if "tools" in body)


def test_methods_and_seeds_share_every_answer(bench, model):
    found = bench(rng_seeds=(0, 1))
    assert [run.name for run in found.runs] == [
        "baseline:0", *(f"{name}:{seed}" for seed in (0, 1) for name in ("mipro", "gepa", "random", "demos-only"))
    ]  # fmt: skip
    assert not found.missing
    assert max(questions(model).values()) == 1
    assert len({run.rows_hash for run in found.runs}) == 1
    assert len({run.baseline_scores for run in found.runs}) == 1
    assert len({len(run.scores) for run in found.runs}) == 1


def test_what_the_runs_made_is_what_the_model_saw_and_what_a_search_takes_is_told_as_if_alone(bench, model):
    found = bench()
    made = sum(part.calls for run in found.runs for part in run.made.values())
    assert made == len(model.bodies)
    run = next(run for run in found.runs if run.name == "random:0")
    assert run.search["policy"].calls == run.rollouts
    assert run.search["meta"].calls == run.proposals > 0
    assert run.made["policy"].calls < run.rollouts + len(run.scores)  # the bootstrap was paid by the first method
    assert run.made["meta"].calls == 0


def test_the_same_command_again_makes_no_call_and_gives_the_same(bench, model):
    first = bench(rng_seeds=(0, 1))
    calls = len(model.bodies)
    heard = Heard()
    assert bench(rng_seeds=(0, 1), watch=heard) == first
    assert len(model.bodies) == calls
    assert all(recorded for _, recorded in heard.ended_runs)


def test_another_method_or_seed_is_added_to_what_is_there(bench):
    bench(methods=("mipro",))
    heard = Heard()
    bench(methods=("mipro", "demos-only"), rng_seeds=(0, 1), watch=heard)
    assert [name for name, recorded in heard.ended_runs if recorded] == ["mipro:0"]
    assert [name for name, *_ in heard.started_runs] == ["demos-only:0", "mipro:1", "demos-only:1"]


def test_a_comparison_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(bench, model, tmp_path):
    wishes, heard = Wishes(), Heard()
    heard.on_outcome = lambda: wishes.pause.set() if len(heard.outcomes) > 50 else None
    with pytest.raises(PauseRequestedError):
        bench(watch=heard, wishes=wishes)
    stopped = len(model.bodies)
    assert 50 < stopped < 120
    resumed = bench()
    assert max(questions(model).values()) == 1
    with ScriptedOpenAI(answer=scripted_answer) as other:
        environ = {"OPENAI_API_KEY": other.key, "OPENAI_BASE_URL": other.base_url}
        (tmp_path / "other").mkdir()
        settings = BackendSettings(home=tmp_path / "other", keys=("k" * 64,), environ=environ)
        order = Order(config_for(tmp_path, other), chosen_methods(ALL), (0,))
        straight = run_comparison(settings, order, DATA, Heard())
        assert len(other.bodies) == len(model.bodies)

    def result(run):
        return replace(run, seconds=0.0)

    assert list(map(result, resumed.runs)) == list(map(result, straight.runs))


def test_a_run_alone_chooses_what_the_optimizer_chooses(bench, tmp_path, model):
    (run,) = bench(methods=("mipro",)).runs
    config = config_for(tmp_path, model, ablation_size=0)
    _, documents = run_in_process(bench.settings, config, DATA, lambda _: None)
    assert documents["best_prompt.json"]["winner"]["instruction"] == run.winner.instruction
    assert documents["score_history.json"]["test_rows"]["winner"] == list(run.scores)
    assert documents["score_history.json"]["rollouts"] == run.rollouts


def test_a_comparison_is_no_job_in_any_list(bench):
    found = bench(methods=("baseline",))
    with closing(Ledger(bench.settings.database)) as ledger:
        assert ledger.list_jobs() == []
        assert ledger.job(found.job_id).algorithm == "comparison"


# ---- money


def test_the_cap_stops_before_it_could_be_passed_and_a_higher_one_goes_on(bench, model):
    heard = Heard()
    spent = bench(methods=("baseline",), watch=heard)
    assert spent.runs[0].made["policy"].cost_usd > 0
    first = bench(methods=("baseline", "mipro", "random"), cap=0.01)
    assert [run.name for run in first.runs] == ["baseline:0"]
    assert [(m.method, m.failed) for m in first.missing] == [("mipro", True), ("random", False)]
    assert "max_cost_usd = 0.01 is reached" in first.missing[0].reason
    with closing(Ledger(bench.settings.database)) as ledger:
        assert sum(part.cost_usd for part in ledger.usage(first.job_id).values()) <= 0.01
    assert not bench(methods=("baseline", "mipro", "random"), cap=10.0).missing


def test_the_cap_stops_rollouts_of_a_method_without_proposals_too(bench, model):
    with pytest.raises(IncompleteError, match="max_cost_usd"):
        bench(methods=("demos-only",), cap=0.001)
    with closing(sqlite3.connect(bench.settings.home / "ledger.sqlite3")) as connection:
        (spent,) = connection.execute("SELECT SUM(cost_usd) FROM calls").fetchone()
    assert len(model.bodies) > 0
    assert spent <= 0.001


def test_a_forecast_needs_no_model_and_knows_each_method(tmp_path, model):
    found = forecasts(Order(config_for(tmp_path, model), chosen_methods(ALL), (0, 1, 2)), DATA)
    by_name = {method.name: (runs, forecast) for method, runs, forecast in found}
    assert not model.requests
    assert {name: runs for name, (runs, _) in by_name.items()} == {
        "mipro": 3,
        "gepa": 3,
        "random": 3,
        "demos-only": 3,
        "baseline": 1,
    }
    assert by_name["baseline"][1].calls == 10
    assert by_name["mipro"][1].calls == 100 + 2 * 10
    assert by_name["demos-only"][1].proposals == 0


# ---- failures


def failing(reason: str, kind: type[MiproWalkError]) -> Method:
    def find(contest):
        raise kind(f"{reason} (seed {contest.settings.rng_seed})")

    return Method("failing", "failing", "fails", find)


def test_a_method_that_fails_is_left_out_and_the_others_run(bench):
    heard = Heard()
    found = bench(methods=(failing("no rows", ConfigError), "demos-only"), rng_seeds=(0, 1, 2), watch=heard)
    assert [run.name for run in found.runs] == ["demos-only:0", "demos-only:1", "demos-only:2"]
    assert [(m.rng_seed, m.reason) for m in found.missing] == [(s, f"no rows (seed {s})") for s in range(3)]
    assert heard.failures == list(found.missing)


def test_a_run_that_failed_is_tried_again_by_the_next_start(bench, model):
    model.answer = lambda body: scripted_answer(body) if len(model.requests) < 60 else Scripted.error(400)
    found = bench(methods=("baseline", "mipro"))
    assert [run.name for run in found.runs] == ["baseline:0"]
    assert [m.method for m in found.missing] == ["mipro"]
    model.answer = scripted_answer
    assert not bench(methods=("baseline", "mipro")).missing


def test_a_model_that_is_away_ends_the_comparison_after_two_runs(bench, model):
    def answer(body):
        return scripted_answer(body) if len(model.requests) <= 10 else Scripted.error(401)

    model.answer = answer
    heard = Heard()
    found = bench(methods=("baseline", "mipro", "random", "demos-only"), rng_seeds=(0, 1), watch=heard)
    assert [run.name for run in found.runs] == ["baseline:0"]
    assert [m.failed for m in found.missing] == [True, True, False, False, False, False]
    assert found.missing[-1].reason.startswith("not tried: ")


def test_without_a_single_run_the_reason_is_the_error(bench, model):
    model.answer = lambda body: Scripted.error(401)
    with pytest.raises(IncompleteError, match="cannot be asked"):
        bench(methods=("mipro", "random"))


def test_without_test_rows_nothing_is_compared(bench):
    with pytest.raises(ConfigError, match="test rows"):
        bench(test_size=0)


def test_a_second_comparison_at_the_same_time_is_refused(bench):
    heard, refused, tried = Heard(), [], threading.Event()

    def try_once():
        if not tried.is_set():
            tried.set()
            try:
                bench(methods=("baseline",))
            except ConfigError as error:
                refused.append(error.message)

    heard.on_outcome = try_once
    bench(methods=("baseline",), watch=heard)
    assert refused == ["Another comparison is running."]
