"""What a run is said to take, against what it may and may not be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mipro_walk.backend.stops import MoneyCap, Spent, money_cap
from mipro_walk.config import get_profile, parse_config
from mipro_walk.core.plan import make_plan
from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.forecast import cost_in_words, forecast
from tests.fakes.landscape import make_task

TASK = make_task(train=80, val=60, test=300)


def made(profile="walkthrough", **settings):
    config = parse_config(get_profile(profile).document, origin="test", environ={})
    config = replace(config, settings=replace(config.settings, **settings))
    plan = make_plan(config.settings, TASK)
    return forecast(config, TASK, plan), plan, config


def test_every_planned_call_is_in_a_phase():
    found, plan, _ = made()
    assert [phase.name for phase in found.phases] == ["Bootstrap", "Search", "Final test", "Ablation"]
    assert found.calls == plan.total
    # Three rounds of four instructions and a summary, then one more round in the second generation.
    assert [phase.proposals for phase in found.phases] == [13, 4, 0, 0]


def test_cases_are_ordered_and_more_demonstrations_cost_more():
    few, many = made(num_demos=1)[0], made(num_demos=30)[0]
    low, expected, high = few.cost_usd
    assert 0 < low < expected < high
    assert many.cost_usd[1] > few.cost_usd[1]
    assert many.phases[0].prompt_tokens == few.phases[0].prompt_tokens  # the bootstrap shows none


def test_calls_of_a_judge_stand_in_every_phase_with_their_tokens_and_time():
    plain, plan, config = made()
    judged = forecast(config, replace(TASK, kind="judged"), plan)
    assert [phase.judgements for phase in judged.phases] == [phase.calls for phase in plain.phases]
    assert judged.as_dict()["judgements"] == plain.calls
    for bare, phase in zip(plain.phases, judged.phases, strict=True):
        assert phase.prompt_tokens >= bare.prompt_tokens + 600 * phase.calls
        assert phase.seconds[1] > bare.seconds[1]
    assert plain.judgements == 0


def test_local_model_costs_nothing_and_an_unknown_price_is_unknown():
    local, _, _ = made("quick-local")
    assert local.cost_usd == (0.0, 0.0, 0.0)
    assert cost_in_words(local.cost_usd).startswith("nothing")
    _, plan, config = made()
    unknown = forecast(replace(config, policy=replace(config.policy, model="a-model-of-nobody")), TASK, plan)
    assert unknown.cost_usd is None
    assert unknown.as_dict()["cost_usd"] is None
    assert cost_in_words(None).startswith("unknown")


def test_cap_keeps_back_the_final_test_and_what_is_bought_next():
    cap = MoneyCap(cap_usd=10.0, test_rollouts=100, next_rollouts=50, call_usd=0.01, round_usd=0.5)
    assert not cap.is_reached(Spent(7.9, 0.01))
    assert cap.is_reached(Spent(8.1, 0.01))
    assert cap.is_reached(Spent(6.0, 0.03))  # calls turned out dearer than forecast
    with pytest.raises(IncompleteError, match="price of a model is unknown"):
        cap.is_reached(Spent(None, 0.0))


def test_cap_that_cannot_pay_the_test_or_a_model_without_a_price_is_refused_before_the_first_call():
    found, plan, _ = made()
    assert money_cap(None, found, plan) is None
    assert money_cap(100.0, found, plan) is not None
    with pytest.raises(ConfigError, match="may not pay the final test \\(400 calls\\)"):
        money_cap(0.0001, found, plan)
    with pytest.raises(ConfigError, match="price of a model is unknown"):
        money_cap(1.0, replace(found, call_usd=None), plan)
