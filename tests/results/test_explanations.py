"""What ``explanations.json`` says of a run: labels, rows, pairs, and nothing that was not measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mipro_walk.core.optimizer import optimize
from mipro_walk.core.result import TestResult
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.statistics import compare_paired
from mipro_walk.results.documents import build_documents
from mipro_walk.results.explanations import explain
from mipro_walk.results.files import encode
from mipro_walk.results.names import EXPLANATIONS
from mipro_walk.types import Example, Outcome
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task

SETTINGS = OptimizerSettings(num_demos=3)


@pytest.fixture(scope="module")
def result():
    return optimize(make_task(), Landscape(), ScriptedProposer(), SETTINGS)


def answered(label: str | None, expected: str) -> Outcome:
    """Return the outcome of answering ``label``; ``?`` is a call that failed."""
    if label == "?":
        return Outcome(None, None, "failed")
    return Outcome(float(label == expected), label, "" if label == expected else "wrong")


ROWS = (
    # expected, the baseline's answer, the winner's answer
    ("card", "pin", "card"),
    ("card", "pin", "card"),
    ("card", "card", "card"),
    ("pin", "pin", "card"),
    ("pin", "pin", None),
    ("pin", "cash", "pin"),
    ("cash", "?", "cash"),
    ("cash", "pin", "?"),
    ("cash", "pin", "pin"),
)


def explained(result, **changes):
    task = replace(make_task(), **{"test": [Example(i, f"row {i}", row[0]) for i, row in enumerate(ROWS)], **changes})
    before, after = ([answered(row[column], row[0]) for row in ROWS] for column in (1, 2))
    comparison = compare_paired([o.score for o in before], [o.score for o in after])
    test = TestResult(tuple(range(len(ROWS))), tuple(before), tuple(after), comparison)
    return explain(task, replace(result, test=test))


def test_rows_fixed_and_broken_are_named_with_both_answers(result):
    found = explained(result)
    assert [(r["seed"], r["query"], r["label"], r["baseline"], r["winner"]) for r in found["fixed"]] == [
        (0, "row 0", "card", "pin", "card"),
        (1, "row 1", "card", "pin", "card"),
        (5, "row 5", "pin", "cash", "pin"),
    ]
    assert [(r["seed"], r["baseline"], r["winner"]) for r in found["broken"]] == [(3, "pin", "card"), (4, "pin", None)]


def test_labels_are_counted_without_unknown_rows_the_most_gained_first(result):
    labels = explained(result)["labels"]
    assert [(e["label"], e["n"], e["baseline_right"], e["winner_right"], e["change"]) for e in labels] == [
        ("card", 3, 1, 3, 2),
        ("cash", 1, 0, 0, 0),
        ("pin", 3, 2, 1, -1),
    ]
    assert {e["verdict"] for e in labels} == {"no significant gain"}  # three rows show nothing


def test_a_label_that_moves_beyond_noise_is_called_so(result):
    task = make_task()
    rows = [Example(i, f"row {i}", "card") for i in range(20)]
    before, after = [Outcome(0.0, "pin")] * 20, [Outcome(1.0, "card")] * 20
    test = TestResult(tuple(range(20)), tuple(before), tuple(after), compare_paired([0.0] * 20, [1.0] * 20))
    (label,) = explain(replace(task, test=rows), replace(result, test=test))["labels"]
    assert (label["change"], label["verdict"]) == (20, "better")


def test_unknown_rows_are_left_out_and_counted(result):
    found = explained(result)
    assert found["test"] == {"split": "test", "n": 7, "unknown": 2}
    assert not {6, 7} & {row["seed"] for row in (*found["fixed"], *found["broken"])}


def test_confused_pairs_are_counted_for_both_prompts_most_frequent_first(result):
    confusions = explained(result)["confusions"]
    assert [(p["expected"], p["answered"], p["times"]) for p in confusions["baseline"]] == [
        ("card", "pin", 2),
        ("cash", "pin", 1),
        ("pin", "cash", 1),
    ]
    assert [(p["expected"], p["answered"], p["times"]) for p in confusions["winner"]] == [
        ("cash", "pin", 1),
        ("pin", None, 1),
        ("pin", "card", 1),
    ]


def test_free_answers_have_rows_but_no_labels_and_no_pairs(result):
    found = explained(result, labels=())
    assert (found["labels"], found["confusions"]) == (None, None)
    assert len(found["fixed"]) == 3


def test_a_graded_answer_is_right_only_when_it_is_wholly_right(result):
    task = replace(make_task(), test=[Example(0, "row", "card"), Example(1, "row", "card")], labels=())
    before, after = (Outcome(0.2, "a"), Outcome(0.2, "a")), (Outcome(0.9, "b"), Outcome(1.0, "c"))
    test = TestResult((0, 1), before, after, compare_paired([0.2, 0.2], [0.9, 1.0]))
    assert [row["seed"] for row in explain(task, replace(result, test=test))["fixed"]] == [1]


def test_without_a_test_nothing_is_said_of_test_rows():
    settings = replace(SETTINGS, test_size=0)
    task = make_task()
    found = explain(task, optimize(task, Landscape(), ScriptedProposer(), settings))
    assert [found[key] for key in ("ablation", "test", "labels", "confusions")] == [None] * 4
    assert (found["fixed"], found["broken"]) == ([], [])


def test_the_ablation_stands_with_its_n_and_intervals_or_with_its_reason(result):
    ablation = explained(result)["ablation"]
    assert (ablation["split"], ablation["n"], ablation["skipped"]) == ("test", 40, None)
    assert [p["prompt"] for p in ablation["prompts"]] == [cell.name for cell in result.ablation.cells]
    assert all(p["low"] <= p["difference"] <= p["high"] and p["n"] == 40 for p in ablation["prompts"])
    skipped = explain(make_task(), replace(result, ablation=replace(result.ablation, cells=(), skipped="cost cap")))
    assert (skipped["ablation"]["skipped"], skipped["ablation"]["prompts"]) == ("cost cap", [])


def test_importance_is_a_share_or_a_reason(result):
    importance = explained(result)["importance"]
    assert importance["method"] == "PED-ANOVA"
    assert (importance["instruction"] is None) == bool(importance["reason"])


def test_the_same_run_gives_the_same_bytes_and_says_what_it_is():
    runs = [optimize(make_task(), Landscape(), ScriptedProposer(), SETTINGS) for _ in range(2)]
    first, second = (build_documents(make_task(), run, {"provider": "local"})[EXPLANATIONS] for run in runs)
    assert encode(first) == encode(second)
    assert json.loads(encode(first)) == first
    assert (first["schema_version"], first["kind"], first["task"]) == (1, "mipro_walk.explanations", "scripted")
