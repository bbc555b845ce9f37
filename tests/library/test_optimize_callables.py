"""``optimize`` with plain callables of every kind."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import product

import pytest

from mipro_walk import OptimizerSettings, Progress, bind, exact_match, make_task, optimize, optimize_async, summary
from mipro_walk.core.evaluation import TIME
from mipro_walk.core.settings import GepaSettings
from mipro_walk.errors import ConfigError, IncompleteError
from tests.fakes.program import make_program_task, model
from tests.library.conftest import SETTINGS, async_policy, policy

TWO_STAGES = OptimizerSettings(num_iterations=10, budget=200, test_size=40, ablation_size=10, target_score=1.1)


def program(stages, query):
    return stages.add(stages.find(query))


async def async_program(stages, query):
    return await stages.add(await stages.find(query))


async def async_model(messages):
    await asyncio.sleep(0)
    return model(messages)


async def async_match(answer, example):
    return exact_match(answer, example)


# ---- every kind of callable


def test_a_single_prompt_is_improved_and_the_gain_proven(task):
    result = optimize(task, policy, settings=SETTINGS)
    assert result.test.comparison.verdict == "better"
    assert result.recommended.demos
    assert summary(result).startswith("Better: 0.00 → 1.00 on 40 unseen test rows")


@pytest.mark.parametrize(
    ("ask", "run", "score"),
    list(product((model, async_model), (program, async_program), (exact_match, async_match))),
    ids=lambda function: function.__name__,
)
def test_sync_and_async_callables_give_the_same_run(ask, run, score):
    task = make_program_task(train=30, val=30, test=40)
    plain = optimize(task, model, program=program, settings=TWO_STAGES)
    result = optimize(task, ask, program=run, score=score, settings=TWO_STAGES, max_concurrent=4)
    assert [trial.as_dict() for trial in result.trials] == [trial.as_dict() for trial in plain.trials]
    assert result.winner == plain.winner
    assert result.test == plain.test


@pytest.mark.parametrize("ask", [lambda messages: async_policy(messages), async_policy], ids=["lambda", "async def"])
def test_a_function_that_returns_a_coroutine_is_awaited(task, ask):
    assert optimize(task, ask, settings=SETTINGS).test.comparison.candidate == 1.0


def test_an_object_with_an_async_call_is_awaited(task):
    class Client:
        async def __call__(self, messages):
            return policy(messages)

    assert optimize(task, Client(), settings=SETTINGS).test.comparison.candidate == 1.0


def test_a_program_may_ask_a_model_in_its_own_way():
    task = make_program_task(train=30, val=30, test=40)

    def by_itself(stages, query):
        for stage in stages:
            answer = model(stage.messages(query))
            stage.note(query, answer)
            query = answer
        return query

    found = optimize(task, program=by_itself, settings=TWO_STAGES)
    assert found.winner == optimize(task, model, program=program, settings=TWO_STAGES).winner


def test_a_single_prompt_may_have_a_program_too(task):
    result = optimize(task, policy, program=lambda stages, query: stages.answer(query).upper(), settings=SETTINGS)
    assert result.test.comparison.candidate == 1.0
    assert result.winner.further == ()


def test_a_meta_model_may_be_async(task):
    async def write(messages, temperature):
        return f"Look at the first word of the text, number {len(messages[-1]['content'])}, and name its colour."

    result = optimize(task, policy, write, SETTINGS)
    assert {i.source for i in result.space.stages[0].instructions} == {"baseline", "meta-model"}


# ---- loops and threads


def test_optimize_works_inside_a_running_loop(task):
    async def in_a_notebook():
        return optimize(task, async_policy, settings=SETTINGS)

    assert asyncio.run(in_a_notebook()).test.comparison.verdict == "better"


def test_optimize_async_awaits_on_the_callers_loop_and_lets_it_go_on(task):
    loops, ticks = set(), []

    async def ask(messages):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.001)
        return policy(messages)

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.001)

    async def main():
        ticking = asyncio.create_task(tick())
        result = await optimize_async(task, ask, settings=SETTINGS)
        ticking.cancel()
        return result, asyncio.get_running_loop()

    result, loop = asyncio.run(main())
    assert loops == {loop}
    assert len(ticks) > 5
    assert result.winner == optimize(task, policy, settings=SETTINGS).winner


def test_cancelling_ends_the_calls_on_their_way(task):
    started, ended, all_started = [], [], asyncio.Event()

    async def ask(messages):
        started.append(1)
        if len(started) == 4:
            all_started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def main():
        running = asyncio.create_task(optimize_async(task, ask, settings=SETTINGS, max_concurrent=4))
        await all_started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(main(), 10))
    assert len(started) == len(ended) == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_as_many_calls_run_at_once_as_allowed_and_no_more(task, is_async):
    lock, running, most = threading.Lock(), [0], [0]

    def enter(step):
        with lock:
            running[0] += step
            most[0] = max(most[0], running[0])

    def ask(messages):
        enter(1)
        time.sleep(0.005)
        enter(-1)
        return policy(messages)

    async def ask_async(messages):
        enter(1)
        await asyncio.sleep(0.005)
        enter(-1)
        return policy(messages)

    optimize(task, ask_async if is_async else ask, settings=SETTINGS, max_concurrent=3)
    assert most[0] == 3


def test_no_thread_is_left_behind(task):
    before = set(threading.enumerate())
    optimize(task, async_policy, settings=SETTINGS)
    optimize(task, policy, settings=SETTINGS, max_concurrent=4)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


# ---- failures


def test_a_policy_that_raises_measures_nothing(task):
    def ask(messages):
        if messages[-1]["content"].endswith("3"):
            raise TimeoutError("no answer")
        return policy(messages)

    result = optimize(task, ask, settings=SETTINGS)
    unknown = [o for entry in result.board.entries.values() for o in entry.outcomes.values() if not o.is_known]
    assert unknown
    assert all(o.reason.startswith("TimeoutError: no answer (test_optimize_callables.py:") for o in unknown)
    assert result.test.comparison.excluded > 0
    assert result.test.comparison.candidate == 1.0


def test_an_outage_stops_the_run_and_says_why(task):
    asked = []

    def ask(messages):
        asked.append(1)
        raise ConnectionError("refused")

    with pytest.raises(IncompleteError, match="8 rows in a row failed; the last said: ConnectionError: refused"):
        optimize(task, ask, settings=SETTINGS)
    assert len(asked) < 20  # of hundreds


def test_a_mistake_in_a_program_is_named_with_its_line():
    with pytest.raises(
        IncompleteError, match=r"There is no stage 'sum'; there are find, add\. \(test_optimize_callables.py"
    ):
        optimize(make_program_task(), model, program=lambda stages, query: stages.sum(query), settings=TWO_STAGES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "nobody to ask"),
        ({"policy": lambda messages: 7}, r"policy returned 7 \(int\)"),
        ({"policy": policy, "program": lambda s, q: None}, "program returned None"),
        ({"policy": policy, "settings": OptimizerSettings(max_cost_usd=1.0)}, "max_cost_usd has no effect"),
        ({"policy": policy, "settings": GepaSettings()}, "GepaSettings"),
        ({"program": lambda s, q: s.answer(q)}, "no policy to ask"),
    ],
)
def test_what_cannot_work_is_said(task, arguments, says):
    with pytest.raises((ConfigError, IncompleteError), match=says):
        optimize(task, **{"settings": SETTINGS, **arguments})


def test_a_task_of_several_stages_needs_a_program():
    with pytest.raises(ConfigError, match=r"several stages \(find, add\) but no program"):
        optimize(make_program_task(), model)


def test_time_is_kept_to(task):
    def slow(messages):
        time.sleep(0.01)
        return policy(messages)

    settings = OptimizerSettings(num_iterations=5, budget=80, test_size=10, max_time_seconds=0.05)
    assert optimize(task, slow, settings=settings).stop_reason == TIME


# ---- progress


def test_progress_is_told_row_by_row(task):
    seen: list[tuple[str, int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.phase, progress.rollouts_done, progress.rollouts_planned))

    result = optimize(task, policy, settings=SETTINGS, on_progress=watch)
    done = [count for _, count, _ in seen]
    assert done == sorted(done)
    asked = sum(len(o) for o in (result.test.baseline, result.test.winner))
    assert done[-1] == result.rollouts + asked + result.plan.ablation_rows * len(_new_cells(result))
    assert list(dict.fromkeys(phase for phase, _, _ in seen)) == ["bootstrap", "search", "test", "ablation"]
    assert {planned for _, _, planned in seen} == {result.plan.total}


def _new_cells(result):
    return [cell for cell in result.ablation.cells if not cell.reused]


def test_a_callback_that_raises_ends_the_run(task):
    def watch(progress):
        if progress.rollouts_done == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        optimize(task, policy, settings=SETTINGS, on_progress=watch)


# ---- afterwards


def test_the_found_program_can_be_used(task):
    single = optimize(task, policy, settings=SETTINGS)
    assert bind(task, single.recommended, policy)("red thing 999") == "red"
    assert asyncio.run(bind(task, single.recommended, async_policy)("green thing 999")) == "green"
    two = make_program_task()
    query = two.test[0].query
    expected = model([*_messages("Add them."), {"role": "user", "content": _found(query)}])
    assert bind(two, two.baseline, model, program)(query) == expected
    assert asyncio.run(bind(two, two.baseline, async_model, async_program)(query)) == expected
    assert asyncio.run(bind(two, two.baseline, async_model, program)(query)) == expected


def _messages(instruction):
    return [{"role": "system", "content": instruction}]


def _found(query):
    return model([*_messages("Find the digits."), {"role": "user", "content": query}])


def test_bind_raises_what_the_callables_raise(task):
    def ask(messages):
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        bind(task, task.baseline, ask)("red thing")


# ---- tasks


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "b"), ("a",)], r"Row 1 of train is no \(query, label\) pair"),
        ([("a", 1)], "Row 0 of train"),
        ([(" ", "b")], "Row 0 of train"),
        (["ab"], "Row 0 of train"),
    ],
)
def test_rows_that_are_no_pairs_are_named(rows, says):
    with pytest.raises(ConfigError, match=says):
        make_task("t", "Answer.", rows, [("q", "a")], [("r", "b")])


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ({"find": "Find.", "two words": "Answer."}, "'two words' cannot name a stage"),
        ({"_find": "Find.", "answer": "Answer."}, "'_find' cannot name a stage"),
        ({"find": " ", "answer": "Answer."}, "Stage 'find' has no instruction"),
        ({"answer": "Answer."}, "at least two stages; this one has 1"),
        ({}, "at least two stages; this one has 0"),
    ],
)
def test_stages_that_cannot_work_are_refused(stages, says):
    with pytest.raises(ConfigError, match=says):
        make_task("t", stages, [("q", "a")], [("r", "b")], [("s", "c")])


def test_pinned_rows_are_checked(task):
    rows = [(row.query, row.label) for row in task.test]
    pinned = make_task("colours", "Say the colour.", rows[:20], rows[20:30], rows[30:], pinned=[("blue sky", "unsure")])
    result = optimize(pinned, policy, settings=SETTINGS)
    assert result.test.comparison.verdict == "better"
    assert result.recommendation == "baseline"
    assert "does worse on 1 of 1 pinned row" in summary(result)
