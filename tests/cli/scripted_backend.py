"""A backend that plays a script, for the tests of everything that watches a job; and the documents of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mipro_walk.errors import UnreachableError

JOB_ID = "pl_0123456789abcdef"


def event(seq: int, kind: str, message: str, level: str = "info", **data: Any) -> dict[str, Any]:
    """Return an event as the job API has it."""
    return {
        "seq": seq,
        "type": kind,
        "message": message,
        "level": level,
        "data": data,
        "created_at": "2026-01-01T00:00:00+00:00",
        "job_id": JOB_ID,
    }


def trial_event(seq: int, iteration: int, score: float | None, best: float, n: int = 6) -> dict[str, Any]:
    """Return one trial."""
    shown = "unknown" if score is None else f"{score:.2f}"
    return event(
        seq,
        "mipro.trial.complete",
        f"  Iteration {iteration + 1}/10... score: {shown} (n={n}) best: {best:.2f} (n={n})",
        **trial(iteration, score, best, n),
    )


def trial(iteration: int, score: float | None, best: float, n: int = 6) -> dict[str, Any]:
    """Return the record of one trial."""
    return {
        "iteration": iteration,
        "instruction": iteration % 4,
        "demo_set": iteration % 3,
        "minibatch_score": score,
        "num_seeds": n if score is not None else 0,
        "unknown": 0 if score is not None else n,
        "status": "complete" if score is not None else "too many unknown",
        "startup": iteration < 3,
        "best_score": best,
        "best_n": n,
        "rollouts": 20 + iteration * n,
        "seeds": list(range(n)),
    }


def status(state: str = "running", *, done: int = 40, cost: float | None = 0.0, **changes: Any) -> dict[str, Any]:
    """Return a status document."""
    progress = {
        "phase": "search",
        "phase_number": 2,
        "iteration": 4,
        "num_iterations": 10,
        "rollouts_done": done,
        "rollouts_planned": 300,
        "best_score": 0.56,
        "best_n": 24,
        "unknown": 2,
        "elapsed_seconds": 42.0,
        "eta_seconds": 130.0,
        "recorded_reused": 0,
        "usage": {
            "policy": {"calls": done, "prompt_tokens": 12345, "completion_tokens": 678, "cost_usd": cost},
            "meta": {"calls": 3, "prompt_tokens": 900, "completion_tokens": 300, "cost_usd": 0.0},
        },
    }
    return {
        "job_id": JOB_ID,
        "status": state,
        "algorithm": "mipro",
        "created_at": "2026-01-01T00:00:00+00:00",
        "updated_at": "2026-01-01T00:00:01+00:00",
        "error": None,
        "fix": None,
        "stop_reason": None,
        "best_score": None,
        "launch": {},
        "task_app_url": "http://127.0.0.1:8002",
        "progress": progress,
        **changes,
    }


class ScriptedBackend:
    """Plays one (events, status) pair for each poll of the events; the last pair stays. Exceptions are raised."""

    def __init__(self, script: list[tuple[list[dict[str, Any]], dict[str, Any] | Exception]]) -> None:
        self.script = script
        self.asked: list[str] = []
        self.documents: dict[str, Any] = {}
        self.submitted: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
        self.found_jobs: list[dict[str, Any]] = []
        self.on_poll: Callable[[int], None] = lambda poll: None
        self._poll = -1
        self._out: list[dict[str, Any]] = []

    def submit(
        self, document: Mapping[str, Any], launch: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> str:
        """Remember the submit."""
        self.submitted.append((document, launch))
        return JOB_ID

    def events(self, job_id: str, since: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """Go one step on in the script."""
        self._poll += 1
        self.on_poll(self._poll)
        if self._poll < len(self.script):
            self._out += self.script[self._poll][0]
        found = self._now()
        if isinstance(found, Exception):
            raise found
        return [e for e in self._out if e["seq"] > since][:limit]

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the status of the present step."""
        self.asked.append("status")
        found = self._now()
        if isinstance(found, Exception):
            raise found
        return found

    def results(self, job_id: str) -> dict[str, Any]:
        """Return what the test put there."""
        return self.documents

    def pause(self, job_id: str) -> dict[str, Any]:
        """From now on the job is paused."""
        self.asked.append("pause")
        self.script = [([], status("paused"))]
        return {}

    def resume(self, job_id: str) -> dict[str, Any]:
        """Remember it and go on in the script."""
        self.asked.append("resume")
        self._poll += 1
        return {}

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Remember it."""
        self.asked.append("cancel")
        return status("cancelled")

    def jobs(self) -> list[dict[str, Any]]:
        """Return what the test put there."""
        return self.found_jobs

    def _now(self) -> dict[str, Any] | Exception:
        return self.script[max(0, min(self._poll, len(self.script) - 1))][1]


def silent() -> UnreachableError:
    """Return what a dead backend raises."""
    return UnreachableError("The backend at http://127.0.0.1:1 does not answer (ConnectError).", "Start one.")


class FakeClock:
    """Sleeping is only counting."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        """Return the fake time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let the fake time pass."""
        self.seconds += seconds


def documents(verdict: str | None = "better", *, demos: int = 3, query: str = "Where is my card?") -> dict[str, Any]:
    """Return the documents of a finished job."""
    numbers = {"better": (0.12, 0.55, 0.32, 0.53, 0.0001), "worse": (0.55, 0.35, -0.33, -0.06, 0.004)}
    base, won, low, high, p = numbers.get(str(verdict), (0.40, 0.44, -0.06, 0.14, 0.42))
    test = verdict and {
        "split": "test",
        "n": 100,
        "baseline": base,
        "winner": won,
        "difference": won - base,
        "low": low,
        "high": high,
        "p_value": p,
        "gained": 48,
        "lost": 5,
        "excluded": 0,
        "verdict": verdict,
        "detectable_difference": 0.153,
        "cautious_low": low,
        "cautious_high": high,
        "could_turn": False,
        "discordance": 0.53,
        "rows_needed": 2594,
    }
    shown = [{"query": f"{query} {i}", "label": "card_arrival"} for i in range(demos)]
    recommendation = "winner" if verdict in ("better", None) else "baseline"
    instruction = "You are a banking intent classifier.\nAnswer with one intent."
    scores = [0.17, 0.33, 0.5, None, 0.33, 0.67, 0.5, 0.67, 0.83, 0.5]
    best = [0.17, 0.33, 0.5, 0.5, 0.5, 0.67, 0.6, 0.61, 0.64, 0.62]
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": "{query}"}]
    model = {"provider": "local", "model": "smollm2-135m-instruct", "temperature": 0.0, "max_completion_tokens": 64}
    prompt = {"instruction": instruction, "demonstrations": shown}
    usage = {"calls": 300, "prompt_tokens": 90000, "completion_tokens": 3000, "cost_usd": 0.0}
    return {
        "best_prompt.json": {
            "schema_version": 1,
            "kind": "mipro_walk.best_prompt",
            "task": "banking77_intent_classification",
            "recommendation": recommendation,
            "instruction": {"role": "system", "content": instruction},
            "demonstrations": shown,
            "messages": messages,
            "model": {**model, "output_mode": "structured"},
            "score": test or None,
            "search_score": {"split": "val", "mean": 0.62, "n": 24},
            "baseline": prompt,
            "winner": {**prompt, "instruction_source": "built-in pattern", "demo_builder": "label-covering"},
        },
        "score_history.json": {
            "schema_version": 1,
            "kind": "mipro_walk.score_history",
            "plan": {"budget": 100, "total": 300},
            "baseline": {"split": "val", "score": 0.17, "n": 6},
            "iterations": [trial(i, s, b, 6) for i, (s, b) in enumerate(zip(scores, best, strict=True))],
            "finalists": [
                {"instruction": 1, "demo_set": 2, "score": 0.62, "n": 24},
                {"instruction": 3, "demo_set": 0, "score": 0.54, "n": 24},
            ],
            "test": test or None,
            "stop_reason": "all iterations done",
            "rollouts": 98,
            "instructions": [],
            "demo_sets": [],
            "refused": {},
        },
        "selected_demos.json": {
            "schema_version": 1,
            "kind": "mipro_walk.selected_demos",
            "split": "train",
            "builder": "label-covering",
            "demonstrations": [{"seed": i, **demo} for i, demo in enumerate(shown)],
        },
        "explanations.json": explanations(verdict, query=query),
        "job_metadata.json": {
            "schema_version": 1,
            "kind": "mipro_walk.job_metadata",
            "job_id": JOB_ID,
            "seconds": 171.0,
            "stop_reason": "all iterations done",
            "config": {"prompt_learning": {"termination_config": {"budget": 100}}},
            "plan": {"budget": 100},
            "progress": {"unknown": 1},
            "usage": {"policy": usage, "meta": {**usage, "calls": 0}},
            "models": {"policy": model, "meta": {"provider": "local", "model": "smollm2-135m-instruct"}},
            "data": {"source": "sample (shipped with mipro-walk)", "dataset_hash": "ab", "rows": {"test": 100}},
        },
    }


def explanations(verdict: str | None = "better", *, query: str = "Where is my card?") -> dict[str, Any]:
    """Return the explanations of a job whose test had 100 rows, or of one without a test."""
    names = ("card_arrival", "card_linking", "pin_blocked", "balance_not_updated_after_cheque_or_cash_deposit")
    scores = {"baseline": 0.12, "instruction only": 0.2, "demonstrations only": 0.5, "both": 0.55}
    prompts = [
        {
            "prompt": name,
            "score": score,
            "n": 40,
            "difference": score - 0.12,
            "low": score - 0.27,
            "high": score + 0.03,
            "verdict": "better" if score > 0.27 else "no significant gain",
            "reused": name in ("baseline", "both"),
        }
        for name, score in scores.items()
    ]
    changes = ((0, 11, "better"), (2, 4, "no significant gain"), (3, 3, "no significant gain"), (9, 2, "worse"))
    labels = [
        {"label": name, "n": 13, "baseline_right": b, "winner_right": w, "change": w - b, "verdict": v}
        for name, (b, w, v) in zip(names, changes, strict=True)
    ]
    fixed = [
        {"seed": i, "query": f"{query} {i}", "label": names[0], "baseline": names[1], "winner": names[0]}
        for i in range(13)
    ]
    broken = [{"seed": 50, "query": query, "label": names[3], "baseline": names[3], "winner": None}]
    confusions = {
        "baseline": [{"expected": names[0], "answered": names[1], "times": 11}],
        "winner": [
            {"expected": names[3], "answered": None, "times": 7},
            {"expected": names[0], "answered": names[1], "times": 2},
        ],
    }
    skipped = {"split": "test", "n": 0, "excluded": 0, "skipped": "there was no final test", "prompts": []}
    return {
        "schema_version": 1,
        "kind": "mipro_walk.explanations",
        "task": "banking77_intent_classification",
        "ablation": {**skipped, "n": 40, "excluded": 1, "skipped": None, "prompts": prompts} if verdict else skipped,
        "importance": {
            "method": "PED-ANOVA",
            "candidates": 24,
            "instruction": 0.1,
            "demo_set": 0.9,
            "p_values": {"instruction": 0.4, "demo_set": 0.01},
            "reason": None,
        },
        "test": {"split": "test", "n": 98, "unknown": 2} if verdict else None,
        "labels": labels if verdict else None,
        "fixed": fixed if verdict else [],
        "broken": broken if verdict else [],
        "confusions": confusions if verdict else None,
    }
