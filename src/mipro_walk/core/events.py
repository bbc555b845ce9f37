"""What the optimizer reports. Types and data follow the published job API; ``message`` is for people.

Data holds nothing that depends on the clock or on money, so that a replayed run reports the same events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.core.plan import Plan
from mipro_walk.core.scoreboard import Entry
from mipro_walk.core.search_space import DemoSet, SearchSpace
from mipro_walk.core.statistics import PairedComparison
from mipro_walk.types import Event


def job_started(plan: Plan, num_iterations: int) -> Event:
    """Announce the plan."""
    text = (
        f"Plan: {plan.bootstrap} rollouts to bootstrap, {plan.baseline} for the baseline, {plan.search} to search "
        f"({num_iterations} x {plan.minibatch}), {plan.finalists} for finalists: at most {plan.budget}; "
        f"then {2 * plan.test_rows} for the final test"
    )
    data = {"num_iterations": num_iterations, "num_trials_per_iteration": 1, "plan": plan.as_dict()}
    return Event("mipro.job.started", text, data)


def phase(number: int, name: str) -> Event:
    """Open a phase."""
    return Event("mipro.phase", f"Phase {number}: {name}", {"phase": number, "name": name})


def proposing(index: int, total: int) -> Event:
    """Say that the meta-model is asked: that can take a while."""
    text = f"  Generating instruction candidates ({index + 1}/{total})..."
    return Event("mipro.bootstrap.progress", text, {"seed": index, "total": total})


def bootstrap_progress(index: int, total: int, accepted: int, refused: Mapping[str, int]) -> Event:
    """Report one bootstrap round."""
    text = f"  - Seed {index + 1}/{total}: {accepted} instructions generated"
    if refused:
        text += " (refused: " + ", ".join(f"{n} {why}" for why, n in sorted(refused.items())) + ")"
    return Event("mipro.bootstrap.seed", text, {"seed": index, "accepted": accepted, "refused": dict(refused)})


def baseline_train(right: int, n: int) -> Event:
    """Report what the baseline did on the bootstrap rows."""
    share = right / n if n else 0.0
    return Event(
        "mipro.bootstrap.baseline",
        f"  Baseline on {n} train rows: {share:.2f} (n={n})",
        {"score": share, "num_seeds": n},
    )


def instruction_proposed(index: int, text: str, source: str) -> Event:
    """Report one accepted instruction."""
    return Event(
        "mipro.instruction.proposed",
        f"Instruction {index} ({source}): {text}",
        {"instruction_id": index, "instruction_text": text, "source": source, "iteration": 0},
    )


def bootstrap_completed(space: SearchSpace, pool_size: int) -> list[Event]:
    """Report the search space."""
    sets = ", ".join(f"{s.builder} ({len(s.demos)})" for s in space.demo_sets)
    return [
        Event(
            "mipro.bootstrap.demos",
            f"  Demo pool size: {pool_size}; sets: {sets}",
            {"demo_pool_size": pool_size, "demo_sets": [_demo_set(s) for s in space.demo_sets]},
        ),
        Event(
            "mipro.bootstrap.completed",
            f"  Bootstrap complete: {len(space.instructions)} instructions x {len(space.demo_sets)} demo sets "
            f"= {space.size} candidates",
            {"num_instructions": len(space.instructions), "num_demo_sets": len(space.demo_sets)},
        ),
    ]


def iteration_start(iteration: int, total: int, batch_size: int, budget: int) -> Event:
    """Open an iteration (0-based)."""
    data = {
        "iteration": iteration,
        "num_iterations": total,
        "num_trials_per_iteration": 1,
        "batch_size": batch_size,
        "max_rollouts": budget,
    }
    return Event("mipro.iteration.start", f"Iteration {iteration + 1}/{total}", data)


def baseline_val(score: float | None, n: int) -> Event:
    """Report the baseline on the first minibatch of val."""
    shown = "unknown" if score is None else f"{score:.2f}"
    return Event("mipro.baseline.val", f"  Baseline... score: {shown} (n={n})", {"score": score, "num_seeds": n})


def trial_complete(data: Mapping[str, Any], total: int) -> Event:
    """Report one trial; ``data`` is the trial record as plain data."""
    score = "unknown" if data["minibatch_score"] is None else f"{data['minibatch_score']:.2f}"
    note = "" if data["status"] == "complete" else f" [{data['status']}]"
    text = (
        f"  Iteration {data['iteration'] + 1}/{total}... score: {score} (n={data['num_seeds']}) "
        f"best: {data['best_score']:.2f} (n={data['best_n']}){note}"
    )
    return Event("mipro.trial.complete", text, data)


def new_incumbent(data: Mapping[str, Any]) -> Event:
    """Report a new leader."""
    text = f"  New best: instruction {data['instruction']}, demo set {data['demo_set']}"
    return Event("mipro.new_incumbent", text, data)


def iteration_complete(iteration: int, spent: int) -> Event:
    """Close an iteration."""
    return Event(
        "mipro.iteration.complete",
        f"Iteration {iteration + 1} complete, {spent} rollouts so far",
        {"iteration": iteration, "cumulative": spent},
    )


def search_stopped(reason: str, spent: int) -> Event:
    """Say why the search ended."""
    return Event(
        "mipro.optimization.exhausted",
        f"Search ended: {reason}; {spent} rollouts",
        {"reason": reason, "rollouts": spent},
    )


def finalist(rank: int, entry: Entry, mean: float, n: int) -> Event:
    """Report a finalist on the rows that all finalists share."""
    return Event(
        "mipro.topk.scored",
        f"  Finalist {rank}: instruction {entry.key[0]}, demo set {entry.key[1]}: {mean:.2f} on {n} common val rows",
        {"rank": rank, "instruction": entry.key[0], "demo_set": entry.key[1], "score": mean, "num_seeds": n},
    )


def test_progress(who: str, done: int, total: int) -> Event:
    """Report how far the final test is."""
    return Event(
        "mipro.test.progress",
        f"  Final test, {who}: {done}/{total} rows",
        {"who": who, "done": done, "total": total},
    )


def test_completed(comparison: PairedComparison, test_seeds: list[int]) -> list[Event]:
    """Report the final test: baseline, winner, verdict."""
    c = comparison
    return [
        Event(
            "mipro.baseline.test",
            f"Baseline: {c.baseline:.3f} on {c.n} test rows",
            {"score": c.baseline, "test_score": c.baseline, "seeds": test_seeds},
        ),
        Event(
            "mipro.topk.evaluated",
            f"Winner: {c.candidate:.3f} on the same {c.n} test rows",
            {
                "rank": 1,
                "test_score": c.candidate,
                "lift_absolute": c.difference,
                "test_seeds": test_seeds,
            },
        ),
        Event(
            "mipro.verdict",
            f"Verdict: {c.verdict} ({c.difference:+.3f}, 95 % interval {c.low:+.3f} to {c.high:+.3f}, n={c.n})",
            {
                "verdict": c.verdict,
                "difference": c.difference,
                "low": c.low,
                "high": c.high,
                "p_value": c.p_value,
                "n": c.n,
                "excluded": c.excluded,
            },
        ),
    ]


def _demo_set(demo_set: DemoSet) -> dict[str, Any]:
    return {"builder": demo_set.builder, "seeds": list(demo_set.seeds)}
