"""comparison.json of several methods."""

from __future__ import annotations

import json

import pytest

from mipro_walk.comparison.document import Setting, methods_document
from mipro_walk.comparison.methods import METHODS, Contest, Counted, chosen_methods, random_search
from mipro_walk.comparison.runs import MissingRun, read_run
from mipro_walk.core.algorithms import Writer
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.types import Usage
from tests.comparison.conftest import BASELINE, make_run
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task

SETTING = Setting("scripted", BASELINE, "made up", {"val": 20, "test": 8}, 100, {}, "pl_1", (0, 1, 2))
MISSED = (1.0,) * 2 + (0.0,) * 6


def document(*runs, methods=("mipro", "random", "baseline"), missing=()):
    return methods_document(SETTING, [METHODS[name] for name in methods], runs, missing)


def entry(found, name):
    return next(entry for entry in found["entries"] if entry["name"] == name)


def test_a_run_is_read_back_as_it_was_written():
    run = make_run(scores=(1.0, None))
    assert read_run(json.loads(json.dumps(run.as_dict()))) == run


def test_the_document_is_plain_json_and_the_same_every_time():
    runs = [make_run(rng_seed=seed) for seed in range(3)]
    assert json.dumps(document(*runs)) == json.dumps(document(*runs))


def test_the_first_method_is_held_against_the_baseline_and_each_other_one():
    runs = [*(make_run(rng_seed=s) for s in range(3)), *(make_run("random", s, scores=MISSED) for s in range(3))]
    found = document(*runs, make_run("baseline", scores=MISSED))
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [
        ("MIPRO", "the baseline"),
        ("MIPRO", "random search"),
    ]
    assert [pair["difference"]["value"] for pair in found["pairs"]] == [0.5, 0.5]
    assert entry(found, "random")["gain"]["value"] == 0
    assert entry(found, "baseline")["gain"] is None


def test_a_seed_that_failed_is_left_out_on_both_sides_counted_and_said():
    runs = [*(make_run(rng_seed=s) for s in range(3)), *(make_run("random", s, scores=MISSED) for s in (0, 2))]
    found = document(*runs, missing=[MissingRun("random", 1, "the model was away", failed=True)])
    assert found["pairs"][1]["rng_seeds"] == (0, 2)
    assert entry(found, "random")["missing"] == [{"rng_seed": 1, "reason": "the model was away", "failed": True}]
    assert "random search, rng seed 1, is left out: the model was away" in found["warnings"]


def test_a_method_without_any_run_has_no_score():
    found = document(make_run(), missing=[MissingRun("random", 0, "no rows", failed=True)])
    assert (entry(found, "random")["score"], entry(found, "random")["runs"]) == (None, [])
    assert [pair["second"] for pair in found["pairs"]] == ["the baseline"]


def test_a_point_gained_has_a_price_only_where_a_gain_is_proven():
    rows = {"scores": (1.0,) * 60 + (0.0,) * 20, "baseline_scores": (1.0,) * 20 + (0.0,) * 60}
    found = entry(document(make_run(**rows)), "mipro")
    assert found["per_point"] == {"rollouts": 2.0, "usd": pytest.approx(0.03 / 50)}
    assert entry(document(make_run(scores=MISSED)), "mipro")["per_point"] is None


def test_a_price_that_is_not_known_stays_unknown():
    unpriced = {"policy": Usage(10, 1, 1, None), "meta": Usage()}
    rows = {"scores": (1.0,) * 60 + (0.0,) * 20, "baseline_scores": (1.0,) * 20 + (0.0,) * 60}
    found = entry(document(make_run(search=unpriced, made=unpriced, **rows)), "mipro")
    assert found["cost_usd"] == {"search": None, "made": None}
    assert found["per_point"]["usd"] is None


def test_one_rng_seed_is_said_to_show_no_luck_of_the_search():
    assert any(warning.startswith("One rng seed") for warning in document(make_run())["warnings"])
    assert not document(make_run(), make_run(rng_seed=1))["warnings"]


# ---- methods


def test_unknown_methods_are_refused_by_name():
    with pytest.raises(ConfigError, match="'mirpo'") as caught:
        chosen_methods(["mipro", "mirpo"])
    assert "mipro, gepa, random" in caught.value.fix


def test_a_method_named_twice_runs_once():
    assert [method.name for method in chosen_methods(["random", "mipro", "random"])] == ["random", "mipro"]


def test_random_search_refuses_a_space_that_holds_the_baseline_alone():
    settings = OptimizerSettings(optimize_instructions=False, optimize_demos=False)
    with pytest.raises(ConfigError, match="0 candidates"):
        random_search(Contest(make_task(), Counted(Landscape()), ScriptedProposer(), settings))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_what_it_would_have_returned_on_its_way(name):
    method = METHODS[name]
    settings = method.settings(OptimizerSettings(ablation_size=0))
    writer = Writer("meta-model", lambda messages, temperature: f"```Sort by {len(str(messages))} things.```")
    found = method.find(Contest(make_task(), Counted(Landscape()), ScriptedProposer(), settings, writer=writer))
    rollouts = [at for at, _ in found.trace]
    assert rollouts == sorted(rollouts)
    assert (rollouts[0], found.trace[0][1].instruction) == (0, make_task().instruction)
    assert (rollouts[-1], found.trace[-1][1]) == (found.rollouts, found.winner)
    assert found.rollouts <= settings.budget
