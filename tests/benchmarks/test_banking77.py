"""The measurement on Banking77 without a model: its methods on a scripted landscape, its file, its table."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks import banking77
from benchmarks.banking77 import Bench, Record, RunKey
from mipro_walk.backend.in_process import load_data
from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.comparison.intervals import over_runs
from mipro_walk.comparison.methods import Contest, Counted, bootstrapped, random_search
from mipro_walk.config import get_profile, parse_config
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.ledger import Ledger
from mipro_walk.types import Candidate, Rollout
from tests.backend.conftest import scripted_answer
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task
from tests.fakes.openai_server import ScriptedOpenAI

PROJECT = Path(__file__).parents[2]


def contest(landscape=None, **settings):
    evaluator = Counted(landscape or Landscape())
    return Contest(make_task(), evaluator, ScriptedProposer(), OptimizerSettings(**settings))


def rows_by_candidate(landscape):
    """Return the val rows that each candidate beside the baseline was asked about."""
    rows = {}
    for rollout in landscape.history:
        if rollout.split == "val" and rollout.candidate != Candidate(make_task().instruction):
            rows.setdefault(rollout.candidate, []).append(rollout.seed)
    return rows


def record(method="ours", rng_seed=0, scores=(1.0, 1.0, 1.0, 0.0), num_intents=10, **fields):
    values = {
        "rows_hash": "rows",
        "config_hash": banking77.configuration(RunKey(num_intents, rng_seed, method)).config_hash,
        "budget": 100,
        "num_demos": 10,
        "val_rows": 40,
        "baseline_scores": (0.0,) * len(scores),
        "rollouts": 100,
        "calls": 90,
        "seconds": 61.4,
        "instruction": "Sort it.",
        "demos_shown": 10,
        "source": "sample",
        "machine": "a machine",
        "ended_at": "2026-01-02T03:04:05+00:00",
    }
    key = {"num_intents": num_intents, "method": method, "rng_seed": rng_seed}
    return Record(**key, **{**values, "scores": scores, **fields})


# ---- methods


def test_random_search_scores_as_many_candidates_as_iterations_on_the_same_rows_within_the_budget():
    landscape = Landscape()
    ours = contest(landscape, budget=100, num_iterations=10, rng_seed=3)
    _, bootstrap = bootstrapped(ours)
    landscape.history.clear()
    found = random_search(ours)
    by_candidate = rows_by_candidate(landscape)
    assert len(by_candidate) == 10
    assert set(map(tuple, by_candidate.values())) == {tuple(range((100 - bootstrap) // 10))}
    assert 90 < found.rollouts <= 100


def test_random_search_returns_the_candidate_with_the_best_mean():
    landscape = Landscape()
    found = random_search(contest(landscape))
    totals = {
        candidate: sum(landscape.outcome(Rollout(candidate, "val", row)).score for row in rows)
        for candidate, rows in rows_by_candidate(landscape).items()
    }
    assert totals[found.winner] == max(totals.values())


def test_random_search_touches_no_test_row_before_it_has_chosen():
    landscape = Landscape()
    random_search(contest(landscape))
    splits = [rollout.split for rollout in landscape.history]
    assert "val" not in splits[splits.index("test") :]


def test_random_search_draws_from_the_candidates_that_our_search_starts_with():
    space, _ = bootstrapped(contest(rng_seed=1))
    theirs = optimize(make_task(), Landscape(), ScriptedProposer(), OptimizerSettings(rng_seed=1)).space
    first = len(space.stages[0].instructions)
    assert [i.text for i in space.stages[0].instructions] == [i.text for i in theirs.stages[0].instructions[:first]]
    assert list(space.stages[0].demo_sets) == list(theirs.stages[0].demo_sets[: len(space.stages[0].demo_sets)])


def test_every_method_is_tested_on_the_same_rows_as_the_baseline():
    for method in banking77.METHODS.values():
        landscape = Landscape()
        found = method(contest(landscape, test_size=50))
        asked = {r.seed for r in landscape.history if r.split == "test"}
        assert len(found.scores) == len(found.baseline_scores) == 50
        assert asked == set(range(50))


# ---- the real stack before a scripted model


class ScriptedLocalModel:
    """Where the local model would answer, a scripted one does."""

    def __init__(self, server):
        self._server = server

    def endpoint(self, model):
        return Endpoint("local", self._server.base_url, model, SecretStr(self._server.key))


@pytest.fixture
def model():
    with ScriptedOpenAI(answer=scripted_answer) as server:
        yield server


@pytest.fixture
def bench(tmp_path, model):
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")) as ledger, GatewayThread() as thread:
        yield Bench(load_data(), ledger, ScriptedLocalModel(model), thread)


def test_every_method_runs_on_the_real_stack_and_pays_no_call_that_another_has_made(bench, model):
    records = [
        bench.run(key, banking77.configuration(key, test_rows=10))
        for key in banking77.run_keys([10], list(banking77.METHODS), [0])
    ]
    assert [record.method for record in records] == list(banking77.METHODS)
    assert len({record.rows_hash for record in records}) == 1
    assert len({tuple(record.baseline_scores) for record in records}) == 1
    questions = Counter(json.dumps(body) for body in model.bodies if "response_format" in body)
    assert sum(record.calls for record in records) == questions.total()
    assert max(questions.values()) == 1


def test_a_run_made_again_makes_no_call_and_finds_the_same(bench, model):
    key = RunKey(10, 0, "ours")
    first, again = (bench.run(key, banking77.configuration(key, test_rows=10)) for _ in range(2))
    assert first.calls > 0
    assert again.calls == 0
    assert (again.scores, again.instruction, again.rollouts) == (first.scores, first.instruction, first.rollouts)


# ---- configurations and the file


def test_ours_on_ten_intents_is_the_profile_but_for_the_ablation():
    profile = parse_config(get_profile("quick-local").document, origin="profile", environ={})
    assert banking77.configuration(RunKey(10, 0, "ours")).settings == replace(profile.settings, ablation_size=0)


def test_demonstrations_only_changes_nothing_but_the_instructions():
    ours, demos = (banking77.configuration(RunKey(77, 2, method)).settings for method in ("ours", "demos"))
    assert demos == replace(ours, optimize_instructions=False)


def test_the_baseline_is_measured_once_and_other_methods_with_every_seed():
    keys = banking77.run_keys([10], ["baseline", "ours"], banking77.numbers("0-2"))
    assert keys == [RunKey(10, 0, "baseline"), *(RunKey(10, seed, "ours") for seed in range(3))]


def test_a_second_start_makes_only_the_runs_that_the_file_does_not_hold(tmp_path, monkeypatch):
    made = []

    class FakeBench:
        def run(self, key, config):
            made.append(key)
            return record(key.method, key.rng_seed)

    @contextmanager
    def fake_bench(data, ledger_path):
        yield FakeBench()

    monkeypatch.setattr(banking77, "open_bench", fake_bench)
    out = tmp_path / "runs" / "file.jsonl"
    banking77.measure(None, [RunKey(10, 0, "ours")], out, None)
    banking77.measure(None, [RunKey(10, 0, "ours"), RunKey(10, 1, "ours")], out, None)
    assert made == [RunKey(10, 0, "ours"), RunKey(10, 1, "ours")]
    assert [r.key for r in banking77.read_records(out)] == made


# ---- the table


def test_the_table_has_a_line_for_each_run_and_a_mean_of_each_method():
    records = [record("baseline", scores=(0.0,) * 4), *(record(rng_seed=seed) for seed in range(3))]
    lines = banking77.render(records).splitlines()
    assert [line.split(" | ")[:2] for line in lines[4:]] == [
        ["| baseline", "0"],
        ["| ours", "0"],
        ["| ours", "1"],
        ["| ours", "2"],
        ["| **ours**", "mean of 3"],
    ]
    assert "| 75.0 (30.1 to 95.4) |" in lines[5]
    assert lines[-1].startswith("| **ours** | mean of 3 | **75.0 (")


def test_a_run_that_was_made_again_counts_once_as_it_was_made_last():
    table = banking77.render([record(scores=(0.0,) * 4), record(scores=(1.0,) * 4)])
    assert table.count("| ours |") == 1
    assert "| 100.0 (" in table


def test_rows_whose_call_failed_are_left_out_and_said():
    table = banking77.render([record(scores=(1.0, None, 0.0, 1.0))])
    assert "66.7 (" in table
    assert "1 rows failed" in table


def test_runs_on_different_rows_are_not_put_into_one_table():
    with pytest.raises(SystemExit, match="different rows"):
        banking77.render([record(rows_hash="a"), record(rng_seed=1, rows_hash="b")])


def test_the_mean_gets_a_wider_interval_when_its_runs_disagree():
    agreeing = over_runs([[1.0, 0.0] * 20] * 4)
    disagreeing = over_runs([[1.0] * 40, [0.0] * 40] * 2)
    assert agreeing.value == disagreeing.value == 0.5
    assert disagreeing.high - disagreeing.low > 1.5 * (agreeing.high - agreeing.low)


def test_the_results_page_has_a_place_for_the_table():
    page = (PROJECT / "docs" / "results.md").read_text(encoding="utf-8")
    replaced = banking77.put_between_markers(page, "NEW TABLE")
    assert banking77.put_between_markers(replaced, "NEWER").count("NEW") == 1
