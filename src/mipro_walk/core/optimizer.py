"""The loop: bootstrap, search, final test, ablation. ``run.py`` holds its steps, ``race.py`` those of the search.

Source: MIPRO, Opsahl-Ong et al. 2024, arXiv:2406.11695. Differs: trials run in rungs on common rows, and weak
candidates stop early; candidates are judged by pooled estimates; later generations answer what the leaders confuse;
errors are not scores; the winner is tested once against the baseline on rows that no decision has seen.
"""

from __future__ import annotations

from mipro_walk.core import evaluation, events
from mipro_walk.core.evaluation import Emit, Evaluator, NeverStop, Stops, ignore
from mipro_walk.core.plan import make_plan
from mipro_walk.core.proposer import Proposer
from mipro_walk.core.race import Race
from mipro_walk.core.result import OptimizationResult
from mipro_walk.core.run import Run
from mipro_walk.core.scoreboard import Scoreboard
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.splits import clean
from mipro_walk.types import Task


def optimize(
    task: Task,
    evaluator: Evaluator,
    proposer: Proposer,
    settings: OptimizerSettings,
    *,
    stops: Stops | None = None,
    emit: Emit = ignore,
) -> OptimizationResult:
    """Find the best instruction and demonstrations for ``task``.

    A deterministic function of its arguments and of what ``evaluator``, ``proposer`` and ``stops`` answer.

    Raises:
        ConfigError: the settings cannot work for this task.
        IncompleteError: the evaluator gave up; resume later.
    """
    task, report = clean(task)
    plan = make_plan(settings, task)
    run = Run(task, evaluator, settings, plan, stops or NeverStop(), emit)
    emit(events.job_started(plan, settings.num_iterations))
    emit(events.data_checked(report))

    emit(events.phase(1, "Bootstrap"))
    space = run.bootstrap(proposer)

    emit(events.phase(2, "TPE Optimization"))
    race = Race(run, space, Scoreboard([row.seed for row in task.val]))
    reason = search(race, proposer)
    emit(events.search_stopped(reason, run.spent))

    finalists = race.finalists()
    winner_key = finalists[0].key if finalists else space.baseline_key
    test = None if reason == evaluation.CANCELLED else run.tested(race.space, winner_key)
    pinned = None if reason == evaluation.CANCELLED else run.check_pinned(race.space.candidate(winner_key))
    ablation = run.ablation(race.space, winner_key, test)
    return OptimizationResult(
        plan,
        race.space,
        race.trials,
        race.board,
        finalists,
        winner_key,
        test,
        reason,
        run.spent,
        run.refused,
        run.evidence,
        report,
        ablation,
        pinned,
    )


def search(race: Race, proposer: Proposer) -> str:
    """Run the rungs of the plan; return why it ended."""
    race.score_baseline()
    for rung in race.run.plan.rungs:
        if reason := race.reason_to_stop():
            return reason
        if 0 < rung.number < race.run.settings.generations and rung.newcomers:
            race.open_generation(proposer, rung.number)
        if reason := race.score(rung, race.members(rung)):
            return reason
    return evaluation.ITERATIONS
