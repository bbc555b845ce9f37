"""What GEPA reports. Types and data follow the published job API where it has them; ``message`` is for people.

Data holds nothing that depends on the clock or on money, so that a replayed run reports the same events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipro_walk.core.events import verdict
from mipro_walk.core.gepa_search.plan import GepaPlan
from mipro_walk.core.gepa_search.records import Step, Tried
from mipro_walk.core.result import SearchScore
from mipro_walk.core.statistics import PairedComparison
from mipro_walk.types import Event


def started(plan: GepaPlan) -> Event:
    """Announce the plan."""
    text = (
        f"Plan: {plan.baseline} rollouts for the starting instruction on val, then up to {plan.evolution} for steps of "
        f"at most {plan.step} (2 x {plan.minibatch} train rows, {plan.pareto_rows} val rows if accepted): at most "
        f"{plan.budget}; then {2 * plan.test_rows} for the final test"
    )
    return Event("prompt.learning.gepa.start", text, {"algorithm": "gepa", "plan": plan.as_dict()})


def rollouts_started(seeds: Sequence[int]) -> Event:
    """Name the train rows that minibatches are drawn from."""
    text = f"  Minibatches are drawn from {len(seeds)} train rows"
    return Event("prompt.learning.rollouts.start", text, {"train_seeds": list(seeds)})


def rows_left_out(rows: int) -> Event:
    """Say that rows could not be answered even with the starting instruction."""
    text = f"  {rows} val rows could not be answered and are left out of the comparison"
    return Event("gepa.rows.left_out", text, {"rows": rows}, "warning")


def proposed(tried: Tried, iteration: int) -> Event:
    """Report an instruction that passed the screening."""
    source = tried.instruction.source
    text = f"Instruction {tried.index} ({source}, from {tried.parent}): {tried.instruction.text}"
    data = {
        "generation": iteration,
        "mutation_type": "reflective" if source == "meta-model" else "pattern",
        "operator": source,
        "transformation_id": str(tried.index),
        "parent_id": str(tried.parent),
        "transformation_text": tried.instruction.text,
        "transformation_dict": {"instruction": tried.instruction.text},
    }
    return Event("gepa.transformation.proposed", text, data)


def refused(iteration: int, reasons: Mapping[str, int]) -> Event:
    """Say why proposed texts were refused."""
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
    text = f"  Step {iteration + 1}: proposed texts refused ({why})"
    return Event("gepa.transformation.refused", text, {"iteration": iteration, "refused": dict(reasons)})


def scored_on_val(tried: Tried, leader: Tried, rows: int) -> Event:
    """Report a member's score on val: a trial of the published client."""
    mean, n = tried.score.mean or 0.0, tried.score.n
    name = "Starting instruction" if tried.index == 0 else f"Instruction {tried.index}"
    best = f"best: {leader.score.mean or 0.0:.2f} (n={leader.score.n})"
    data = {
        "mean": mean,
        "completed": n,
        "total": rows,
        "instruction": tried.index,
        "parent": tried.parent,
        "best_instruction": leader.index,
        "best_score": leader.score.mean,
        "best_n": leader.score.n,
    }
    return Event("prompt.learning.trial.results", f"  {name} on val: {mean:.2f} (n={n}) {best}", data)


def step_ended(step: Step, plan: GepaPlan) -> list[Event]:
    """Report a step, and how far the budget is."""
    text = f"  Step {step.iteration + 1}: {_step_in_words(step)}"
    progress = {
        "rollouts_completed": step.rollouts,
        "rollouts_total": plan.budget,
        "percent_rollouts": step.rollouts / plan.budget,
        "percent_overall": step.rollouts / plan.budget,
        "transformations_tried": step.iteration + 1,
        "best_score": step.best_score,
    }
    share = f"{step.rollouts} of {plan.budget} rollouts, best {step.best_score:.2f} (n={step.best_n})"
    return [
        Event("gepa.step.complete", text, step.as_dict()),
        Event("prompt.learning.progress", f"  {share}", progress),
    ]


def _step_in_words(step: Step) -> str:
    if step.minibatch_score is None or step.parent_score is None:
        return f"instruction {step.parent}, {step.status}"
    text = (
        f"instruction {step.parent} -> {step.instruction}, minibatch {step.parent_score:.2f} -> "
        f"{step.minibatch_score:.2f} (n={step.num_seeds}), {step.status}"
    )
    return text if step.val_score is None else f"{text}, val {step.val_score:.2f} (n={step.val_n})"


def search_stopped(reason: str, spent: int, front: int) -> Event:
    """Say why the search ended."""
    text = f"Search ended: {reason}; {spent} rollouts, {front} instructions on the Pareto front"
    return Event("gepa.search.ended", text, {"reason": reason, "rollouts": spent, "pareto_front": front})


def test_completed(comparison: PairedComparison, seeds: Sequence[int], search: SearchScore) -> list[Event]:
    """Report the final test: baseline, winner, verdict, in the events that published clients read for GEPA."""
    c = comparison
    baseline = {"accuracy": c.baseline, "seeds": list(seeds), "is_baseline": True}
    winner = {"accuracy": c.candidate, "seeds": list(seeds), "rank": 1, "is_baseline": False}
    found = "" if search.mean is None else f" (val {search.mean:.3f}, n={search.n})"
    return [
        Event("prompt.learning.validation.scored", f"Baseline: {c.baseline:.3f} on {c.n} test rows", baseline),
        Event(
            "prompt.learning.validation.scored", f"Winner: {c.candidate:.3f} on the same {c.n} test rows{found}", winner
        ),
        Event(
            "prompt.learning.validation.summary",
            f"On {c.n} unseen rows: baseline {c.baseline:.3f}, winner {c.candidate:.3f}",
            {"baseline": {"accuracy": c.baseline, "seeds": list(seeds)}, "results": [winner]},
        ),
        verdict(c),
    ]
