"""The one place that imports the ``gepa`` package: its engine runs over an :class:`Evolution`.

The package chooses parents from its Pareto front, draws minibatches and keeps the population. It is given our own
adapter, proposer, acceptance, selection and stop, no folder to write to, and no logger.

Two of its habits are met here. It swallows exceptions of callbacks and of proposers, which would turn an outage into a
prompt that could not be written: ours leave it as :class:`_Carried`, which nothing catches. And it needs a number for
each row: an unknown outcome goes in as NaN, which is better than nothing, and such rows never reach its scores: on a
minibatch our acceptance leaves them out, on val only rows with a known outcome are named to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from gepa.api import optimize
from gepa.core.adapter import EvaluationBatch
from gepa.strategies.eval_policy import FullEvaluationPolicy
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from mipro_walk.core.gepa_search.evolution import Evolution, StopSearchError
from mipro_walk.core.gepa_search.records import Tried
from mipro_walk.core.gepa_search.reflection import Sample, as_plain, samples_of
from mipro_walk.types import Candidate, Example, Outcome, Split

COMPONENT = "instruction"

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class _Carried(BaseException):
    """An error of ours on its way out of the package."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _carried(
    method: Callable[Concatenate[_Bridge, Parameters], Returned],
) -> Callable[Concatenate[_Bridge, Parameters], Returned]:
    """Let errors of ``method`` through the package, and note that the run did not come to its end."""

    def call(self: _Bridge, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        try:
            return method(self, *args, **kwargs)
        except StopSearchError as exc:
            raise _Carried(exc) from exc
        except Exception as exc:
            self.is_broken_off = True
            raise _Carried(exc) from exc
        except BaseException:
            self.is_broken_off = True
            raise

    return call


@dataclass(frozen=True, slots=True)
class _Row:
    """What the package hands around as an example."""

    split: Split
    example: Example


def evolve(evolution: Evolution) -> str:
    """Run GEPA until there is a reason to stop; return it."""
    bridge = _Bridge(evolution)
    answers: Any = bridge  # it has what the package calls, which is less than its protocols ask for
    try:
        optimize(
            seed_candidate={COMPONENT: evolution.task.instruction},
            trainset=[_Row("train", row) for row in evolution.task.train],
            valset=bridge.val,
            adapter=answers,
            custom_candidate_proposer=answers.propose,
            candidate_selection_strategy="pareto",
            reflection_minibatch_size=evolution.plan.minibatch,
            perfect_score=1.0,
            skip_perfect_score=True,
            use_merge=False,
            stop_callbacks=answers.should_stop,
            logger=answers,
            callbacks=[answers],
            run_dir=None,
            track_best_outputs=False,
            cache_evaluation=False,
            seed=evolution.settings.rng_seed,
            raise_on_exception=True,
            val_evaluation_policy=answers,
            acceptance_criterion=answers,
            selection_strategy=answers,
        )
    except _Carried as carried:
        if isinstance(carried.error, StopSearchError):
            return carried.error.reason
        raise carried.error from None
    return bridge.reason


def render(parent: str, samples: Sequence[Sample]) -> str:
    """Return the package's own request for a better instruction."""
    asked = InstructionProposalSignature.prompt_renderer(
        {"current_instruction_doc": parent, "dataset_with_feedback": samples, "prompt_template": None}
    )
    return str(asked)


def extract(answer: str) -> str:
    """Return the instruction in an answer to :func:`render`."""
    return InstructionProposalSignature.output_extractor(answer)["new_instruction"]


class _Bridge:
    """Everything the package asks, answered by the evolution."""

    propose_new_texts = None

    def __init__(self, evolution: Evolution) -> None:
        self.reason = ""
        self.is_broken_off = False
        self.val = [_Row("val", row) for row in evolution.common_rows()]
        self._evolution = evolution
        self._best: FullEvaluationPolicy[int, _Row] = FullEvaluationPolicy()

    # ---- adapter

    @_carried
    def evaluate(
        self, batch: list[_Row], candidate: Mapping[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[tuple[Example, Outcome], Outcome]:
        """Answer rows of one split."""
        rows, before = [row.example for row in batch], self._evolution.spent
        outcomes = self._evolution.answer(Candidate(candidate[COMPONENT]), batch[0].split, rows)
        return EvaluationBatch(
            outputs=outcomes,
            scores=[math.nan if outcome.score is None else outcome.score for outcome in outcomes],
            trajectories=list(zip(rows, outcomes, strict=True)),
            num_metric_calls=self._evolution.spent - before,
        )

    @_carried
    def make_reflective_dataset(
        self,
        candidate: Mapping[str, str],
        eval_batch: EvaluationBatch[tuple[Example, Outcome], Outcome],
        components_to_update: list[str],
    ) -> dict[str, list[Sample]]:
        """Return the rows with a known answer and what is wrong with it."""
        return {COMPONENT: samples_of(eval_batch.trajectories or [])}

    # ---- proposer, acceptance, selection

    @_carried
    def propose(
        self, candidate: dict[str, str], reflective_dataset: Mapping[str, Any], components_to_update: list[str]
    ) -> dict[str, str]:
        """Return a new instruction, or nothing."""
        child = self._evolution.propose(as_plain(reflective_dataset[COMPONENT]))
        return {COMPONENT: child.instruction.text} if child else {}

    @_carried
    def should_accept(self, proposal: Any, state: Any) -> bool:
        """Whether the child beats its parent on the rows of the minibatch that both know."""
        step = self._evolution.step
        step.after = [outcome for _, outcome in proposal.eval_after.trajectories]
        return self._evolution.child_is_better()

    @_carried
    def select(self, proposals: list[Any], state: Any, acceptance_criterion: Any) -> list[Any]:
        """Let an accepted child into the population once it is scored on val."""
        child = self._evolution.step.child
        return [
            proposal
            for proposal in proposals
            if acceptance_criterion.should_accept(proposal, state) and child and self._evolution.enter(child)
        ]

    # ---- which val rows count

    def get_eval_batch(self, loader: Any, state: Any, target_program_idx: int | None = None) -> list[int]:
        """Return the positions of the rows that the child just selected has known outcomes of."""
        child: Tried | None = self._evolution.step.child
        known = child.known if child else {}
        return [position for position, row in enumerate(self.val) if row.example.seed in known]

    def get_best_program(self, state: Any) -> int:
        """Return the member with the best mean."""
        return self._best.get_best_program(state)

    def get_valset_score(self, program_idx: int, state: Any) -> float:
        """Return a member's mean."""
        return self._best.get_valset_score(program_idx, state)

    # ---- stop, steps, log

    @_carried
    def should_stop(self, state: Any) -> bool:
        """Whether there is a reason to stop before the next step."""
        self.reason = self._evolution.reason_to_stop() or ""
        return bool(self.reason)

    @_carried
    def on_iteration_start(self, event: Mapping[str, Any]) -> None:
        """Open a step."""
        self._evolution.open_step()

    @_carried
    def on_candidate_selected(self, event: Mapping[str, Any]) -> None:
        """Note the parent: the package counts members, we count everything that was tried."""
        self._evolution.step.parent = self._evolution.members[event["candidate_idx"]].index

    @_carried
    def on_evaluation_end(self, event: Mapping[str, Any]) -> None:
        """Note what the parent answered on the minibatch."""
        if event["candidate_idx"] is not None:
            answers = event["trajectories"]
            self._evolution.step.rows = [row for row, _ in answers]
            self._evolution.step.before = [outcome for _, outcome in answers]

    @_carried
    def on_evaluation_skipped(self, event: Mapping[str, Any]) -> None:
        """Note that the parent has nothing to learn from this minibatch."""
        self._evolution.step.status = "minibatch solved"

    @_carried
    def on_iteration_end(self, event: Mapping[str, Any]) -> None:
        """Close the step. One that an error broke off is told when it is taken again."""
        if not self.is_broken_off:
            self._evolution.close_step()

    def log(self, message: str) -> None:
        """Drop the package's own log: events tell what happens."""
