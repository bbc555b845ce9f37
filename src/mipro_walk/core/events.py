"""What the optimizer reports. Types and data follow the published job API; ``message`` is for people.

Data holds nothing that depends on the clock or on money, so that a replayed run reports the same events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.core.ablation import Ablation
from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.plan import Plan
from mipro_walk.core.pooling import Estimate
from mipro_walk.core.result import TrialRecord
from mipro_walk.core.rungs import Rung
from mipro_walk.core.scoreboard import Entry
from mipro_walk.core.search_space import DemoSet, Key, SearchSpace, StageSpace, by_stage, key_as_dict
from mipro_walk.core.splits import SplitReport
from mipro_walk.core.statistics import PairedComparison
from mipro_walk.types import Event


def job_started(plan: Plan, num_iterations: int) -> Event:
    """Announce the plan."""
    sizes = " > ".join(str(rung.members) for rung in plan.rungs)
    text = (
        f"Plan: {plan.bootstrap} rollouts to bootstrap, {plan.baseline} for the baseline, {plan.search} to search and "
        f"{plan.finalists} for finalists ({sizes} candidates, {num_iterations} iterations): at most {plan.budget}; "
        f"then {2 * plan.test_rows} for the final test and {2 * plan.ablation_rows} for the ablation"
    )
    if plan.pinned_rows:
        text += f", and {2 * plan.pinned_rows} for pinned rows"
    data = {"num_iterations": num_iterations, "num_trials_per_iteration": 1, "plan": plan.as_dict()}
    return Event("mipro.job.started", text, data)


def data_checked(report: SplitReport) -> Event:
    """Report the rows that are used, and what was dropped or is odd about them."""
    counts = ", ".join(f"{n} {split}" for split, n in report.rows.items())
    text = "\n".join([f"Data: {counts} rows", *(f"  Note: {warning}" for warning in report.warnings)])
    dropped = [{"dropped": list(o.dropped), "kept": list(o.kept), "similarity": o.similarity} for o in report.overlaps]
    data = {"rows": report.rows, "split_hash": report.split_hash, "dropped": dropped, "warnings": list(report.warnings)}
    return Event("mipro.data.checked", text, data)


def phase(number: int, name: str) -> Event:
    """Open a phase."""
    return Event("mipro.phase", f"Phase {number}: {name}", {"phase": number, "name": name})


def proposing(index: int, total: int, stage: str = "") -> Event:
    """Say that the meta-model is asked: that can take a while."""
    text = f"  Generating instruction candidates{f' for {stage}' if stage else ''} ({index + 1}/{total})..."
    return Event("mipro.bootstrap.progress", text, {"seed": index, "total": total})


def bootstrap_progress(index: int, rounds: int, accepted: int, refused: Mapping[str, int]) -> Event:
    """Report one round of proposals; those of later generations come after the bootstrap ``rounds``."""
    name = f"Seed {index + 1}/{rounds}" if index < rounds else f"Generation {index - rounds + 2}"
    text = f"  - {name}: {accepted} instructions generated"
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


def instructions_proposed(stage: StageSpace, start: int = 0) -> list[Event]:
    """Report the accepted instructions of a stage from index ``start`` on."""
    return [
        Event(
            "mipro.instruction.proposed",
            f"Instruction {index} ({instruction.source}): {instruction.text}",
            {
                "instruction_id": index,
                "instruction_text": instruction.text,
                "source": instruction.source,
                "iteration": 0,
                **_stage_name(stage),
            },
        )
        for index, instruction in enumerate(stage.instructions[start:], start=start)
    ]


def bootstrap_completed(space: SearchSpace, pool_sizes: Sequence[int]) -> list[Event]:
    """Report the search space. ``pool_sizes`` says of how many rows each stage's demonstrations were chosen."""
    instructions, demo_sets = space.stages[0].sizes
    sizes = " x ".join(f"{i} instructions x {d} demo sets" for i, d in (stage.sizes for stage in space.stages))
    return [
        *(_demo_sets_built(stage, size) for stage, size in zip(space.stages, pool_sizes, strict=True)),
        Event(
            "mipro.bootstrap.completed",
            f"  Bootstrap complete: {sizes} = {space.size} candidates",
            {"num_instructions": instructions, "num_demo_sets": demo_sets, **_sizes_by_stage(space)},
        ),
    ]


def baseline_val(score: float | None, n: int) -> Event:
    """Report the baseline on the first minibatch of val."""
    shown = "unknown" if score is None else f"{score:.2f}"
    return Event("mipro.baseline.val", f"  Baseline... score: {shown} (n={n})", {"score": score, "num_seeds": n})


def rung_started(rung: Rung, members: Sequence[Key], rows: int) -> Event:
    """Open a rung: who runs, and up to which row."""
    text = f"  Rung {rung.number + 1}: {len(members)} candidates, up to {rows} val rows each"
    return Event("mipro.rung.start", text, {"rung": rung.number, "members": [list(m) for m in members], "rows": rows})


def generation_opened(number: int, space: SearchSpace, before: Sequence[int], leader: Key) -> list[Event]:
    """Report what a later generation adds; ``before`` holds the sizes of all axes until then."""
    added = [size - old for size, old in zip(space.sizes, before, strict=True)]
    text = (
        f"  Generation {number + 1}: {sum(added[::2])} more instructions and {sum(added[1::2])} more demo sets, "
        f"from what the leader ({space.describe(leader)}) confuses"
    )
    old = by_stage(tuple(before))
    new_sets = [
        {**_demo_set(demo_set), **_stage_name(stage)}
        for stage, (_, sets) in zip(space.stages, old, strict=True)
        for demo_set in stage.demo_sets[sets:]
    ]
    data = {"generation": number, "leader": list(leader), "demo_sets": new_sets}
    proposed = (instructions_proposed(stage, start) for stage, (start, _) in zip(space.stages, old, strict=True))
    return [Event("mipro.generation", text, data), *(event for events in proposed for event in events)]


def trial_started(iteration: int, rows: int, total: int, plan: Plan) -> Event:
    """Open a trial of so many rows; :func:`trial_ended` closes it (the published client counts on the pairs)."""
    data = {
        "iteration": iteration,
        "num_iterations": total,
        "num_trials_per_iteration": 1,
        "batch_size": rows,
        "max_rollouts": plan.budget,
    }
    return Event("mipro.iteration.start", f"Iteration {iteration + 1}/{total}", data)


def trial_ended(trial: TrialRecord, total: int, space: SearchSpace, is_new_leader: bool) -> list[Event]:
    """Report how one trial ended: its score, a new leader if there is one, its end."""
    data = trial.as_dict()
    found = [_trial_complete(data, total)]
    if is_new_leader:
        leader = {**data, **key_as_dict(trial.best_key)}
        text = f"  New best: {space.describe(trial.best_key)}"
        found.append(Event("mipro.new_incumbent", text, leader))
    end = {"iteration": trial.iteration, "cumulative": trial.rollouts}
    text = f"Iteration {trial.iteration + 1} complete, {trial.rollouts} rollouts so far"
    return [*found, Event("mipro.iteration.complete", text, end)]


def _trial_complete(data: Mapping[str, Any], total: int) -> Event:
    score = "unknown" if data["minibatch_score"] is None else f"{data['minibatch_score']:.2f}"
    note = "" if data["status"] == "complete" else f" [{data['status']}]"
    text = (
        f"  Iteration {data['iteration'] + 1}/{total}... score: {score} (n={data['num_seeds']}) "
        f"best: {data['best_score']:.2f} (n={data['best_n']}){note}"
    )
    return Event("mipro.trial.complete", text, data)


def search_stopped(reason: str, spent: int) -> Event:
    """Say why the search ended."""
    return Event(
        "mipro.optimization.exhausted",
        f"Search ended: {reason}; {spent} rollouts",
        {"reason": reason, "rollouts": spent},
    )


def finalist(rank: int, entry: Entry, name: str, estimate: Estimate, mean: float, n: int) -> Event:
    """Report a finalist, by its name: its pooled estimate, and its score on the rows that all finalists share."""
    text = f"  Finalist {rank}: {name}: estimate {estimate.mean:.2f}, {mean:.2f} on {n} common val rows"
    data = {
        "rank": rank,
        **key_as_dict(entry.key),
        "estimate": estimate.mean,
        "score": mean,
        "num_seeds": n,
    }
    return Event("mipro.topk.scored", text, data)


def test_progress(done: int, total: int) -> Event:
    """Report how far the final test is, baseline and winner together."""
    return Event("mipro.test.progress", f"  Final test: {done}/{total} rollouts", {"done": done, "total": total})


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
        verdict(c),
    ]


def verdict(comparison: PairedComparison) -> Event:
    """Report what the final test says."""
    c = comparison
    return Event(
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
            "cautious_low": c.cautious_low,
            "cautious_high": c.cautious_high,
        },
    )


def pinned_progress(done: int, total: int) -> Event:
    """Report how far the pinned rows are, baseline and winner together."""
    return Event("mipro.pinned.progress", f"  Pinned rows: {done}/{total} rollouts", {"done": done, "total": total})


def pinned_checked(check: PinnedCheck) -> Event:
    """Report whether the winner is worse on a row that must not get worse."""
    broken, unknown = check.count("broken"), check.count("unknown")
    text = f"Pinned rows: {check.count('held')} of {len(check.rows)} hold, {broken} broken, {unknown} unknown"
    if not check.holds:
        text += "; the winner is not recommended"
    data = {"rows": len(check.rows), "held": check.count("held"), "broken": broken, "unknown": unknown}
    return Event("mipro.pinned.checked", text, data, "info" if check.holds else "warning")


def ablation_progress(done: int, total: int) -> Event:
    """Report how far the ablation is."""
    return Event("mipro.ablation.progress", f"  Ablation: {done}/{total} rollouts", {"done": done, "total": total})


def ablation_completed(ablation: Ablation) -> Event:
    """Report the four scores on their common rows."""
    scores = {cell.name: cell.comparison.candidate for cell in ablation.cells}
    shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    text = f"Ablation on {ablation.n} test rows: {shown}" if ablation.n else "Ablation: no row has four known answers"
    data = {"scores": scores if ablation.n else {}, "n": ablation.n, "excluded": ablation.excluded}
    return Event("mipro.ablation.completed", text, data)


def ablation_skipped(reason: str) -> Event:
    """Say why there is no ablation."""
    return Event("mipro.ablation.skipped", f"Ablation left out: {reason}", {"reason": reason})


def _demo_sets_built(stage: StageSpace, pool_size: int) -> Event:
    sets = ", ".join(f"{s.builder} ({len(s.demos)})" for s in stage.demo_sets)
    name = f" of {stage.name}" if stage.name else ""
    return Event(
        "mipro.bootstrap.demos",
        f"  Demo pool size{name}: {pool_size}; sets: {sets}",
        {"demo_pool_size": pool_size, "demo_sets": [_demo_set(s) for s in stage.demo_sets], **_stage_name(stage)},
    )


def _stage_name(stage: StageSpace) -> dict[str, Any]:
    return {"stage": stage.name} if stage.name else {}


def _sizes_by_stage(space: SearchSpace) -> dict[str, Any]:
    return {"stages": {stage.name: list(stage.sizes) for stage in space.stages}} if len(space.stages) > 1 else {}


def _demo_set(demo_set: DemoSet) -> dict[str, Any]:
    return {"builder": demo_set.builder, "seeds": list(demo_set.seeds)}
