"""GEPA from start to end: the starting instruction on val, the evolution, the final test."""

from __future__ import annotations

from mipro_walk.core import evaluation
from mipro_walk.core.evaluation import Emit, Evaluator, NeverStop, Stops, ignore
from mipro_walk.core.events import data_checked, phase
from mipro_walk.core.gepa_search import events
from mipro_walk.core.gepa_search.evolution import Evolution
from mipro_walk.core.gepa_search.plan import make_gepa_plan
from mipro_walk.core.gepa_search.records import GepaResult
from mipro_walk.core.gepa_search.reflection import Reflector
from mipro_walk.core.settings import GepaSettings
from mipro_walk.core.splits import clean
from mipro_walk.types import Task


def run_gepa(
    task: Task,
    evaluator: Evaluator,
    reflector: Reflector,
    settings: GepaSettings,
    *,
    stops: Stops | None = None,
    emit: Emit = ignore,
) -> GepaResult:
    """Find the best instruction for ``task`` by reflective evolution, and test it against the starting one.

    A deterministic function of its arguments and of what ``evaluator``, ``reflector`` and ``stops`` answer.

    Source: GEPA, Agrawal et al. 2025, arXiv:2507.19457, as the ``gepa`` package has it. Differs: one module, so no
    merges; a rollout is bought once and its outcome used again; the budget is never exceeded; errors are not scores;
    texts that copy val or test rows are refused; the winner is tested once against the starting instruction on rows
    that no decision has seen.

    Raises:
        ConfigError: the settings cannot work for this task.
        IncompleteError: the evaluator gave up; resume later.
    """
    from mipro_walk.core.gepa_search.engine import evolve

    task, report = clean(task)
    plan = make_gepa_plan(settings, task)
    run = Evolution(task, evaluator, settings, plan, stops or NeverStop(), emit, reflector=reflector)
    emit(events.started(plan))
    emit(data_checked(report))

    emit(phase(1, "Starting instruction on val"))
    reason = run.score_baseline()

    emit(phase(2, "Reflective evolution"))
    if reason is None:
        emit(events.rollouts_started([row.seed for row in task.train]))
        reason = evolve(run)
    front = run.front()
    emit(events.search_stopped(reason, run.spent, len(front)))

    winner = run.leader
    test = None if reason == evaluation.CANCELLED else run.final_test(run.tried[0].candidate, winner.candidate)
    if test is not None:
        for event in events.test_completed(test.comparison, test.seeds, winner.score):
            emit(event)
    pinned = None if reason == evaluation.CANCELLED else run.check_pinned(winner.candidate)
    return GepaResult(
        plan,
        run.tried,
        run.steps,
        front,
        (winner.index,),
        test,
        reason,
        run.spent,
        run.refused,
        report,
        pinned=pinned,
    )
