"""The optimizer with plain callables: no server, no files, no ledger."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mipro_walk.core.evaluation import Emit, ignore
from mipro_walk.core.optimizer import optimize as run_optimizer
from mipro_walk.core.proposer import Complete, MetaModelProposer, PatternProposer, Proposer
from mipro_walk.core.result import OptimizationResult
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Example, Message, Outcome, Rollout, Split, Task, fingerprint

Policy = Callable[[list[Message]], str]
"""Asks the policy model: chat messages in, its answer out. An exception makes the outcome unknown."""
Score = Callable[[str, Example], float]
"""Scores an answer: 0..1, higher is better."""

MAX_UNKNOWN_IN_A_ROW = 8


def make_task(
    name: str,
    instruction: str,
    train: Iterable[tuple[str, str]],
    val: Iterable[tuple[str, str]],
    test: Iterable[tuple[str, str]],
    *,
    description: str = "",
) -> Task:
    """Build a task from ``(query, label)`` pairs. ``test`` is scored once, at the end.

    Rows of ``train`` and ``val`` that resemble rows of ``test``, and rows of ``train`` that resemble rows of ``val``,
    are dropped when the task is optimized; ``OptimizationResult.data`` names them.

    >>> task = make_task("colours", "Name it.", [("sky", "blue")], [("sea", "blue")], [("sun", "yellow")])
    >>> task.labels
    ('blue', 'yellow')
    """
    named: tuple[tuple[Split, Iterable[tuple[str, str]]], ...] = (("train", train), ("val", val), ("test", test))
    splits = {split: [Example(seed, query, label) for seed, (query, label) in enumerate(rows)] for split, rows in named}
    labels = sorted({row.label for rows in splits.values() for row in rows})
    hashed = [[split, [[row.query, row.label] for row in rows]] for split, rows in splits.items()]
    return Task(
        name=name,
        description=description or f"Answer with the right label for the input ({name}).",
        instruction=instruction,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        labels=tuple(labels),
        dataset_hash=fingerprint(hashed),
    )


def exact_match(answer: str, example: Example) -> float:
    """Return 1.0 if the answer is the label, whatever its case and the white space around it.

    >>> exact_match(" Blue\\n", Example(0, "sky", "blue"))
    1.0
    """
    return float(_normal(answer) == _normal(example.label))


def optimize(
    task: Task,
    policy: Policy,
    proposer: Proposer | Complete | None = None,
    settings: OptimizerSettings | None = None,
    *,
    score: Score = exact_match,
    max_concurrent: int = 1,
    on_event: Emit = ignore,
) -> OptimizationResult:
    """Find a better prompt for ``task`` and test it against the baseline on unseen rows.

    ``proposer`` writes instructions: a :class:`~mipro_walk.core.proposer.Proposer`, or a callable
    ``(messages, temperature) -> text`` that asks a meta-model; ``None`` takes the built-in patterns.
    ``policy`` may be called from ``max_concurrent`` threads at once.

    Raises:
        ConfigError: the settings do not fit the task.
        IncompleteError: the policy fails again and again.
    """
    evaluator = CallableEvaluator(task, policy, score, max_concurrent)
    try:
        return run_optimizer(task, evaluator, _as_proposer(proposer), settings or OptimizerSettings(), emit=on_event)
    finally:
        evaluator.close()


class CallableEvaluator:
    """An evaluator over a plain callable."""

    def __init__(self, task: Task, policy: Policy, score: Score, max_concurrent: int) -> None:
        splits: tuple[Split, ...] = ("train", "val", "test")
        self._rows = {split: {row.seed: row for row in task.rows(split)} for split in splits}
        self._policy = policy
        self._score = score
        self._pool = ThreadPoolExecutor(max(1, max_concurrent))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Ask and score every rollout; an exception of ``policy`` is an unknown outcome."""
        outcomes: list[Outcome] = []
        in_a_row = 0
        for outcome in self._pool.map(self._run, rollouts):
            outcomes.append(outcome)
            in_a_row = 0 if outcome.is_known else in_a_row + 1
            if in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                raise IncompleteError(f"The policy failed {in_a_row} times in a row; the last: {outcome.reason}")
        return outcomes

    def _run(self, rollout: Rollout) -> Outcome:
        row = self._rows[rollout.split][rollout.seed]
        try:
            answer = self._policy(candidate_messages(rollout.candidate, row.query))
        except Exception as exc:  # whatever a user's callable raises measured nothing
            return Outcome(None, None, f"{type(exc).__name__}: {exc}"[:300])
        value = float(self._score(answer, row))
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"The score function returned {value!r}.", "Return a number between 0 and 1.")
        return Outcome(value, answer, "" if value == 1.0 else "wrong")


def _as_proposer(proposer: Proposer | Complete | None) -> Proposer:
    if proposer is None:
        return PatternProposer()
    if callable(proposer):
        return MetaModelProposer(proposer)
    return proposer


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
