"""Two finished jobs beside each other."""

from __future__ import annotations

import copy

import pytest

from mipro_walk.comparison.jobs import JobResult, jobs_document
from mipro_walk.core.algorithms import Writer, run_algorithm
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.results.documents import build_documents, build_metadata
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task

MODEL = {"provider": "openai", "model": "gpt-4o-mini", "temperature": 0.0}
USAGE = {"calls": 300, "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.03}


def make_job(name="pl_a", *, landscape=None, test=100, model=MODEL, **settings):
    task = make_task(test=test)
    settings = {"ablation_size": 0, "test_size": test, **settings}
    result = optimize(task, landscape or Landscape(), ScriptedProposer(), OptimizerSettings(**settings))
    documents = build_documents(task, result, model)
    documents["job_metadata.json"] = build_metadata(
        rng_seed=result.plan.budget,
        usage={"policy": USAGE},
        usage_by_phase={"Bootstrap": {**USAGE, "cost_usd": 0.01}, "Search": {**USAGE, "cost_usd": 0.004}},
        data={"source": "made up", "rows": {"val": 60, "test": test}},
    )
    return JobResult(name, copy.deepcopy(documents))


def test_jobs_on_the_same_test_rows_are_paired_row_by_row():
    first = make_job()
    second = make_job("pl_b", optimize_demos=False, num_demos=0)
    found = jobs_document(first, second)
    rows = [job.history["test_rows"]["winner"] for job in (first, second)]
    expected = sum(a - b for a, b in zip(*rows, strict=True)) / 100
    assert found["unpaired"] is None
    (pair,) = found["pairs"]
    assert pair["difference"]["value"] == pytest.approx(expected) != 0
    assert (pair["first"], pair["second"], pair["n"]) == ("pl_a", "pl_b", 100)
    assert pair["words"].startswith("pl_a scored higher than pl_b")


def test_a_job_against_itself_shows_no_difference():
    found = jobs_document(make_job(), make_job("pl_b"))
    assert found["pairs"][0]["verdict"] == "no significant gain"
    assert found["pairs"][0]["words"].startswith("No difference between pl_a and pl_b")


def test_jobs_on_other_test_rows_are_shown_unpaired_with_their_own_intervals():
    found = jobs_document(make_job(), make_job("pl_b", test=60))
    assert found["pairs"] == []
    assert found["unpaired"] == "they were tested on different rows (100 and 60), although 60 seeds are the same"
    assert [entry["score"]["n"] for entry in found["entries"]] == [100, 60]
    assert all(entry["score"]["low"] < entry["score"]["value"] < entry["score"]["high"] for entry in found["entries"])


def test_the_same_seeds_of_other_rows_are_not_the_same_rows():
    second = make_job("pl_b")
    second.history["test_rows"]["rows_hash"] = "0" * 64
    assert "100 seeds are the same" in jobs_document(make_job(), second)["unpaired"]


def test_a_job_without_a_final_test_is_said():
    second = make_job("pl_b", test_size=0)
    found = jobs_document(make_job(), second)
    assert found["unpaired"] == "pl_b has no final test"
    assert found["entries"][1]["score"] is None


def test_files_without_the_scores_of_each_row_cannot_be_paired():
    second = make_job("pl_b")
    del second.documents["score_history.json"]["test_rows"]
    assert "do not hold the scores of its test rows" in jobs_document(make_job(), second)["unpaired"]


def test_best_prompt_alone_is_enough_to_stand_beside_another():
    bare = JobResult("folder", {"best_prompt.json": make_job().documents["best_prompt.json"]})
    found = jobs_document(make_job(), bare)
    assert found["entries"][1]["score"]["n"] == 100
    assert found["unpaired"]


def test_different_tasks_are_refused_with_both_names():
    other = make_job("pl_b")
    other.documents["best_prompt.json"]["task"] = "poetry"
    with pytest.raises(ConfigError, match=r"'scripted'.*'poetry'"):
        jobs_document(make_job(), other)


def test_other_budgets_models_and_starts_are_said():
    other = make_job("pl_b", budget=150, model={**MODEL, "model": "gpt-4o"})
    other.documents["best_prompt.json"]["baseline"]["instruction"] = "Start elsewhere."
    found = jobs_document(make_job(), other)
    warnings = "\n".join(found["warnings"])
    assert "pl_a had 100 rollouts, pl_b had 150" in warnings
    assert "openai/gpt-4o (temperature 0.0)" in warnings
    assert "started from different prompts" in warnings
    assert found["budget"] is None


def test_equal_jobs_have_nothing_to_warn_of():
    assert jobs_document(make_job(), make_job("pl_b"))["warnings"] == []


def test_the_curve_is_the_leader_as_the_job_saw_it_and_cost_is_that_of_the_search():
    job = make_job()
    entry = jobs_document(job, job)["entries"][0]
    trials = job.history["iterations"]
    assert [point[0] for point in entry["curve"]["points"]] == [trial["rollouts"] for trial in trials]
    assert entry["cost_usd"] == {"search": pytest.approx(0.014), "made": 0.03}
    assert entry["per_point"]["rollouts"] == pytest.approx(job.history["rollouts"] / (100 * entry["gain"]["value"]))


def test_damaged_documents_are_an_error_with_a_fix():
    other = make_job("pl_b")
    del other.documents["best_prompt.json"]["winner"]
    with pytest.raises(ConfigError, match="damaged: KeyError") as caught:
        jobs_document(make_job(), other)
    assert "mipro-walk results" in caught.value.fix


def test_a_gepa_job_stands_beside_one_of_mipro():
    task, writer = make_task(), Writer("meta-model", lambda messages, _: f"```Sort {len(str(messages))} things.```")
    result = run_algorithm(task, Landscape(), writer, GepaSettings(budget=200))
    gepa = JobResult("pl_gepa", copy.deepcopy(build_documents(task, result, MODEL)))
    found = jobs_document(make_job(), gepa)
    assert found["unpaired"] is None
    points = found["entries"][1]["curve"]["points"]
    assert [point[0] for point in points] == [step["rollouts"] for step in gepa.history["iterations"]]
