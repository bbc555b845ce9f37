"""The optimizer's loop: bootstrap, search, finalists, final test. ``run.py`` holds each step.

Source: MIPRO, Opsahl-Ong et al. 2024, arXiv:2406.11695. Differs: one module, so one instruction and one demo set
for each candidate; candidates are compared on common rows; a repeated suggestion buys more rows; errors are not
scores; the winner is tested once against the baseline on rows that no decision has seen.
"""

from __future__ import annotations

from mipro_walk.core import evaluation, events
from mipro_walk.core.evaluation import Emit, Evaluator, NeverStop, Stops, ignore
from mipro_walk.core.plan import make_plan
from mipro_walk.core.proposer import Proposer
from mipro_walk.core.result import OptimizationResult, TrialRecord
from mipro_walk.core.run import Run
from mipro_walk.core.sampler import Sampler
from mipro_walk.core.scoreboard import Scoreboard
from mipro_walk.core.search_space import BASELINE
from mipro_walk.core.settings import OptimizerSettings
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
    plan = make_plan(settings, task)
    run = Run(task, evaluator, settings, plan, stops or NeverStop(), emit)
    emit(events.job_started(plan, settings.num_iterations))

    emit(events.phase(1, "Bootstrap"))
    space = run.bootstrap(proposer)

    emit(events.phase(2, "TPE Optimization"))
    sampler = Sampler(space, settings)
    board = Scoreboard([row.seed for row in task.val])
    sampler.add(BASELINE, run.score_baseline(board, space))
    trials: list[TrialRecord] = []
    while (reason := run.reason_to_stop(board, space, len(trials))) is None:
        emit(events.iteration_start(len(trials), settings.num_iterations, plan.minibatch, plan.budget))
        key = run.next_key(sampler, board, space)
        trial = run.trial(board, key, space.candidate(key), len(trials), sampler.num_startup)
        sampler.tell(key, trial.estimate)
        trials.append(trial)
        run.report(trials)
    emit(events.search_stopped(reason, run.spent))

    finalists = run.rank_finalists(board)
    winner_key = finalists[0].key if finalists else BASELINE
    test = None if reason == evaluation.CANCELLED else run.final_test(space, winner_key)
    return OptimizationResult(
        plan, space, trials, board, finalists, winner_key, test, reason, run.spent, run.refused, run.evidence
    )
