"""What did it cost, what was planned, how was it made, and how is the prompt used?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.diff import word_diff
from mipro_walk.report.text import MAX_NAME, MAX_QUERY, MAX_TEXT, Facts, dollars, duration, flattened, shortened
from mipro_walk.results.names import BEST_PROMPT
from mipro_walk.results.usage import local_server_command, usage_in_python, usage_title

Document = Mapping[str, Any]
PLAN_NAMES = {
    "budget": "budget",
    "bootstrap": "bootstrap",
    "pareto_rows": "val rows of the Pareto set",
    "baseline": "baseline on val",
    "search": "search",
    "finalists": "finalists",
    "evolution": "evolution",
    "step": "of one step at most",
    "minibatch": "rows of a first trial, or of a minibatch",
    "test_rows": "test rows for each prompt",
    "ablation_rows": "of them for the ablation",
    "total": "at most, with the final test",
}


def run(best: Document, metadata: Document) -> dict[str, str]:
    """Return what the head of the page says of the run."""
    model = best.get("model") or {}
    parts = [f"{model.get('provider', '?')}/{model.get('model', '?')}"]
    if metadata.get("job_id"):
        parts.append(f"job {metadata['job_id']}")
    if metadata.get("created_at"):
        parts.append(str(metadata["created_at"])[:16].replace("T", " ") + " UTC")
    program = str((metadata.get("versions") or {}).get("mipro-walk", ""))
    return {"task": str(best.get("task") or "a task"), "headline": " · ".join(parts), "program": program}


def prompts(best: Document) -> dict[str, Any]:
    """Return both prompts, and what changed from the one's instruction to the other's."""
    baseline, winner = best["baseline"], best["winner"]
    source = winner.get("instruction_source", "unknown")
    builder = winner.get("demo_builder", "unknown")
    before, after = (shortened(p["instruction"], MAX_TEXT) for p in (baseline, winner))
    return {
        "recommended": best["recommendation"],
        "baseline": _prompt(baseline),
        "winner": _prompt(winner),
        "source": f"Instruction by: {source}. Demonstrations chosen by: {builder}.",
        "diff": word_diff(before, after),
    }


def _prompt(prompt: Document) -> dict[str, Any]:
    demos = prompt.get("demonstrations") or []
    shown = [(shortened(d["query"], MAX_QUERY), shortened(d["label"], MAX_NAME)) for d in demos]
    return {"instruction": shortened(prompt["instruction"], MAX_TEXT), "demonstrations": shown}


def cost(history: Document, metadata: Document) -> dict[str, Any]:
    """Return money, calls, tokens and time, beside what was forecast, and the plan."""
    plan = metadata.get("plan") or history.get("plan") or {}
    columns = [{"name": "phase", "kind": ""}]
    for name in ("calls", "tokens", "cost"):
        columns += [{"name": f"{name}, forecast", "kind": "number"}, {"name": f"{name}, actual", "kind": "number"}]
    return {
        "figures": _figures(history, metadata, plan),
        "columns": columns,
        "phases": _phases(metadata),
        "plan": [(words, f"{plan[name]:,}") for name, words in PLAN_NAMES.items() if plan.get(name) is not None],
        "rungs": [(r["number"] + 1, r["members"], r["newcomers"], r["spent_after"]) for r in plan.get("rungs") or []],
    }


def _figures(history: Document, metadata: Document, plan: Document) -> list[tuple[str, str, str]]:
    usage = metadata.get("usage") or {}
    calls = {role: int((part or {}).get("calls") or 0) for role, part in usage.items()}
    tokens = [sum(int((part or {}).get(name) or 0) for part in usage.values()) for name in _TOKENS]
    expected = ((metadata.get("forecast") or {}).get("cost_usd") or {}).get("expected")
    figures = [("Money", dollars(_total_cost(usage)), f"forecast {dollars(expected)}")]
    if metadata.get("seconds") is not None:
        figures.append(("Time", duration(float(metadata["seconds"])), "of work, pauses left out"))
    figures += [
        (
            "Model calls",
            f"{sum(calls.values()):,}",
            f"{calls.get('policy', 0):,} policy, {calls.get('meta', 0):,} meta",
        ),
        ("Tokens", f"{sum(tokens):,}", f"{tokens[0]:,} in, {tokens[1]:,} out"),
    ]
    if history.get("rollouts") is not None:
        figures.append(("Rollouts", f"{history['rollouts']:,}", f"of {plan.get('budget', '?')} to search"))
    return figures


_TOKENS = ("prompt_tokens", "completion_tokens")


def _total_cost(usage: Document) -> float | None:
    """Return what all roles cost; one call of an unknown price makes the sum unknown."""
    costs = [(part or {}).get("cost_usd") for part in usage.values() if (part or {}).get("calls")]
    return None if None in costs else float(sum(cost for cost in costs if cost is not None))


def _phases(metadata: Document) -> list[tuple[str, ...]]:
    forecast, actual = metadata.get("forecast") or {}, metadata.get("usage_by_phase") or {}
    rows = []
    for phase in forecast.get("phases") or []:
        used = actual.get(phase["name"]) or {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}
        rows.append(
            (
                phase["name"],
                f"{phase['calls'] + phase['proposals'] + phase.get('judgements', 0):,}",
                f"{used['calls']:,}",
                *(f"{sum(part[name] for name in _TOKENS):,}" for part in (phase, used)),
                dollars((phase["cost_usd"] or {}).get("expected")),
                dollars(used["cost_usd"]),
            )
        )
    return rows


def use(best: Document, metadata: Document) -> dict[str, Any]:
    """Return how the recommended prompt is used in a program."""
    demos = len(best.get("demonstrations") or [])
    is_local = (best.get("model") or {}).get("provider") == "local"
    job_id = metadata.get("job_id")
    return {
        "sentence": f"{BEST_PROMPT}, beside this page, holds the recommended prompt as chat messages: an instruction "
        f"{'and ' + counted(demos, 'demonstration') if demos else 'without demonstrations'}. "
        "Your own text takes the place of {query} in the last one.",
        "serve": local_server_command() if is_local else "",
        "title": usage_title(best),
        "program": "\n".join(usage_in_python(best, BEST_PROMPT)),
        "export": f"mipro-walk export {job_id} --format python --output classify.py" if job_id else "",
        "again": f"mipro-walk results {job_id}\nmipro-walk report {job_id}" if job_id else "",
        "messages": [(m["role"], shortened(m["content"], MAX_TEXT)) for m in best.get("messages") or []],
    }


def details(history: Document, metadata: Document) -> dict[str, Any]:
    """Return what somebody needs to make the same run again."""
    data, config = metadata.get("data") or {}, metadata.get("config") or {}
    rows = ", ".join(f"{count} {split}" for split, count in (data.get("rows") or {}).items())
    job: Sequence[tuple[str, Any]] = (
        ("job", metadata.get("job_id")),
        ("created", metadata.get("created_at")),
        ("started", metadata.get("started_at")),
        ("stopped because", metadata.get("stop_reason") or history.get("stop_reason")),
        ("data", data.get("source")),
        ("rows", rows),
        ("rows dropped as overlapping", data.get("dropped")),
        ("dataset hash", data.get("dataset_hash")),
        ("split hash", data.get("split_hash") or history.get("split_hash")),
        ("configuration hash", metadata.get("config_hash")),
        ("rng seed", metadata.get("rng_seed")),
    )
    return {
        "job": _known(job),
        "models": flattened(metadata.get("models") or {}),
        "versions": flattened(metadata.get("versions") or {}),
        "config": flattened(config),
    }


def _known(facts: Sequence[tuple[str, Any]]) -> Facts:
    return [(name, shortened(value, MAX_QUERY)) for name, value in facts if value not in (None, "")]
