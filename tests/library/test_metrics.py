"""Score functions: what may be returned, and what is said of everything else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mipro_walk import Example, Metric, UnmeasuredError, metric, optimize
from mipro_walk.errors import ConfigError
from tests.library.conftest import SETTINGS, policy


def run(task, score):
    return optimize(task, policy, score=score, settings=SETTINGS)


def test_a_decorated_function_is_a_metric_with_its_name():
    @metric
    def first_letter(answer, example):
        return answer[:1] == example.label[:1]

    assert isinstance(first_letter, Metric)
    assert first_letter.name == "first_letter"
    assert first_letter("rouge", Example(0, "q", "red")) is True


@pytest.mark.parametrize("right", [True, 1, 1.0, np.float64(1.0), np.bool_(True)])
def test_every_kind_of_number_is_a_score(task, right):
    result = run(task, lambda answer, example: right if answer == example.label else type(right)(0))
    assert result.test.comparison.candidate == 1.0


def test_a_range_is_scaled_to_the_unit_interval(task):
    @metric(name="stars", low=1, high=5)
    def rate(answer, example):
        return 4 if answer == example.label else 1

    comparison = run(task, rate).test.comparison
    assert (comparison.baseline, comparison.candidate) == (0.0, 0.75)


def test_further_figures_are_kept(task):
    @metric
    async def both(answer, example):
        return {"score": answer == example.label, "length": len(answer)}

    result = run(task, both)
    assert {o.figures["length"] for o in result.test.baseline} == {6.0}
    assert result.test.comparison.candidate == 1.0


def test_what_could_not_be_measured_is_unknown(task):
    @metric
    def judged(answer, example):
        if example.query.endswith("3"):
            raise UnmeasuredError("the judge was away")
        return answer == example.label

    result = run(task, judged)
    reasons = {o.reason for o in result.test.winner if not o.is_known}
    assert reasons == {"the metric 'judged' said: the judge was away"}
    assert result.test.comparison.candidate == 1.0


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (math.nan, "returned nan, which is no number"),
        (math.inf, "returned inf, which is no number"),
        (1.5, "returned 1.5, which is not between 0 and 1"),
        (-0.1, "returned -0.1, which is not between 0 and 1"),
        (None, "returned None, which is no number"),
        ("1", "returned '1', which is no number"),
        ({"f1": 1.0}, r"returned numbers without 'score': \['f1'\]"),
        ({"score": 1.0, "f1": None}, "returned None as 'f1', which is no number"),
    ],
)
def test_what_is_no_score_stops_the_run_with_the_row(task, returned, says):
    def odd(answer, example):
        return returned

    with pytest.raises(ConfigError, match=f"The metric 'odd' {says}, for row .* of train with the answer 'unsure'"):
        run(task, odd)


def test_a_metric_that_raises_stops_the_run_with_the_row(task):
    def careless(answer, example):
        return 1 / 0

    says = r"'careless' raised ZeroDivisionError: .*test_metrics.py:\d+\), for row"
    with pytest.raises(ConfigError, match=says) as info:
        run(task, careless)
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (5, 1), (0, math.inf), (math.nan, 1)])
def test_a_range_without_width_is_refused(low, high):
    with pytest.raises(ConfigError, match="cannot range from"):
        metric(low=low, high=high)


def test_what_a_metric_raises_is_never_taken_for_what_it_returned(task):
    def odd(answer, example):
        raise ValueError("returned by the judge: nothing")

    with pytest.raises(ConfigError, match="'odd' raised ValueError: returned by the judge: nothing"):
        run(task, odd)
