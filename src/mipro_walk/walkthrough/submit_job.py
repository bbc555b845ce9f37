"""Submitting a job and following it to its end: the one flow behind ``train``, ``resume`` and step 5."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mipro_walk.errors import ConfigError, IncompleteError, ScoreBelowThresholdError, error_with_code

if TYPE_CHECKING:  # pydantic is heavy; `jobs` and `results` do without it
    from mipro_walk.config import RunConfig

Status = Mapping[str, Any]
Follow = Callable[[str], Status]
"""Shows a job until it ends or pauses, and returns its last status. Raises what ends the watching early."""

UNFINISHED = ("queued", "running", "paused", "failed")
"""States that ``resume`` can go on from; a failed job keeps every call that was recorded."""


IN_PROCESS = "in_process"
"""In a job's launch data: a job of ``mipro-walk optimize``, which no backend can go on with."""


class JobClient(Protocol):
    """What this flow needs of a backend; :class:`mipro_walk.clients.backend.BackendClient` is one."""

    def submit(
        self, document: Mapping[str, Any], launch: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> str:
        """Submit a configuration and return the job id."""
        ...

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the status document."""
        ...

    def events(self, job_id: str, since: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """Return events after ``since``, ascending."""
        ...

    def results(self, job_id: str) -> dict[str, Any]:
        """Return the result documents by file name."""
        ...

    def cancel(self, job_id: str) -> dict[str, Any]:
        """End the job for good."""
        ...

    def pause(self, job_id: str) -> dict[str, Any]:
        """Pause the job after the calls in flight."""
        ...

    def resume(self, job_id: str) -> dict[str, Any]:
        """Go on with the job."""
        ...

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a job ended.

    Attributes:
        status: the last status document.
        documents: the result documents by file name; empty if the job left none.
        files: what was written of them, the report included.
        report_problem: why there is no report, if there is none.
    """

    job_id: str
    status: Status
    documents: Mapping[str, Mapping[str, Any]]
    files: tuple[Path, ...] = ()
    report_problem: str = ""

    @property
    def score(self) -> float | None:
        """The recommended prompt's score on test, else (without a test) its search score on val."""
        best = self.documents.get("best_prompt.json")
        if best is None:
            return None
        if best["score"] is not None:
            return float(best["score"][best["recommendation"]])
        found = best["search_score"]
        return None if found is None or found["mean"] is None else float(found["mean"])

    def as_dict(self) -> dict[str, Any]:
        """Return the one JSON object that ``train --json`` and ``run --json`` write."""
        return {
            **describe(self.documents),
            "job_id": self.job_id,
            "status": self.status["status"],
            "stop_reason": self.status.get("stop_reason"),
            "score": self.score,
            "files": [str(path) for path in self.files],
        }


def describe(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return verdict, recommendation and scores with their n as plain data; empty documents give nulls."""
    best = documents.get("best_prompt.json") or {}
    test = best.get("score")
    return {
        "schema_version": 1,
        "job_id": (documents.get("job_metadata.json") or {}).get("job_id"),
        "verdict": test["verdict"] if test else None,
        "recommendation": best.get("recommendation"),
        "scores": {"test": test, "search": best.get("search_score")},
    }


def submit_and_follow(
    client: JobClient,
    config: RunConfig,
    *,
    follow: Follow,
    results_folder: Path | None,
    launch: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> TrainResult:
    """Submit ``config``, follow the job and write its results.

    Args:
        results_folder: where the documents go; ``None`` writes none.
        launch: what ``resume`` needs to start the task app again (no secrets).

    Raises:
        ConfigError: the backend refused the configuration.
        MiproWalkError: the job failed.
        IncompleteError: the job paused.
    """
    where = {"results_folder": str(results_folder)} if results_folder else {}
    job_id = client.submit(_with_key(config), {**(launch or {}), **where}, idempotency_key)
    return finish(client, job_id, follow(job_id), results_folder)


def resume_and_follow(client: JobClient, job_id: str, *, follow: Follow, results_folder: Path | None) -> TrainResult:
    """Go on with a job exactly as it was submitted. A job that is done is not run again.

    Raises:
        ConfigError: only ``mipro-walk optimize`` can go on with it.
    """
    require_resumable(client.status(job_id))
    if client.status(job_id)["status"] in ("paused", "failed"):
        client.resume(job_id)
    return finish(client, job_id, follow(job_id), results_folder)


def finish(client: JobClient, job_id: str, status: Status, results_folder: Path | None) -> TrainResult:
    """Turn the last status into a result, with its files written, or into the error that says what to do."""
    from mipro_walk.report.files import Written, write_results

    state = status["status"]
    if state == "failed":
        message = f"Job {job_id} failed: {status.get('error') or 'the backend gives no reason'}"
        code = status.get("error_code")
        fix = str(status.get("fix") or "")
        # A configuration that does not fit cannot be resumed: it is part of the job.
        again = "" if code == ConfigError.code else f" Then: mipro-walk resume {job_id}"
        raise error_with_code(code, message, f"{fix}{again}".strip())
    if state == "paused":
        message = f"Job {job_id} paused: {status.get('error') or 'it was asked to'}"
        raise IncompleteError(message, f"{status.get('fix') or ''} Go on with: mipro-walk resume {job_id}".strip())
    documents = client.results(job_id) if state in ("succeeded", "completed") or status.get("stop_reason") else {}
    written = write_results(results_folder, documents) if documents and results_folder else Written(())
    return TrainResult(job_id, status, documents, written.files, written.problem)


def report_problem_in_words(done: TrainResult) -> str:
    """Return why there is no report, and how to make it again."""
    return f"There is no report.html: {done.report_problem} Try again with: mipro-walk report {done.job_id}"


def last_unfinished(client: JobClient) -> str:
    """Return the id of the newest job that can go on.

    A newer one of ``mipro-walk optimize`` is not passed over: nobody asked to go on, and to pay, for an older one.

    Raises:
        ConfigError: there is none, or the newest is one of ``mipro-walk optimize``.
    """
    for job in client.jobs():
        has_failed_in_process = job["status"] == "failed" and _is_in_process(job)  # that command starts anew
        if job["status"] in UNFINISHED and not has_failed_in_process:
            require_resumable(job, "For an older job give its id (`mipro-walk jobs`). ")
            return str(job["job_id"])
    raise ConfigError("There is no unfinished job to resume.", "See `mipro-walk jobs`, or start one: mipro-walk train")


def require_resumable(status: Status, otherwise: str = "") -> None:
    """Raise ConfigError, with what to do instead, if an unfinished job is one of ``mipro-walk optimize``.

    Args:
        otherwise: what else may have been meant.
    """
    if status["status"] not in UNFINISHED or not _is_in_process(status):
        return
    command = str(status["launch"].get("command") or "mipro-walk optimize, with the same configuration and data")
    raise ConfigError(
        f"Job {status['job_id']} is {status['status']}; `mipro-walk optimize` began it and alone can go on with it.",
        f"{otherwise}Go on with: {command}",
    )


def _is_in_process(status: Status) -> bool:
    return bool((status.get("launch") or {}).get(IN_PROCESS))


def with_spending_limit(
    config: RunConfig, *, max_cost_usd: float | None, yes: bool, is_interactive: bool, confirm: Callable[[str], bool]
) -> RunConfig:
    """Return ``config`` with the cap of this call, once somebody agreed to spend money; local models cost none.

    Raises:
        ConfigError: nobody can be asked, or the answer was no.
    """
    if max_cost_usd is not None:
        settings = dataclasses.replace(config.settings, max_cost_usd=max_cost_usd)
        return dataclasses.replace(config, settings=settings)
    paid = paid_models(config)
    if not paid or yes or config.settings.max_cost_usd is not None:
        return config
    models = " and ".join(paid)
    if not is_interactive:
        raise ConfigError(
            f"This run calls {models}, which may cost money, and nobody can be asked here.",
            "Pass --yes, or --max-cost-usd X to cap it.",
        )
    if not confirm(f"This run calls {models}, which may cost money. Go on?"):
        raise ConfigError("Nothing was submitted.", "Pass --max-cost-usd X to cap the cost, or use a local model.")
    return config


def paid_models(config: RunConfig) -> list[str]:
    """Return ``provider/model`` of each model that may cost money."""
    models = (config.model("policy"), config.meta)
    found = [f"{model.provider}/{model.model}" for model in models if not model.is_free]
    return list(dict.fromkeys(found))


def require_score(result: TrainResult, threshold: float | None) -> None:
    """Raise ScoreBelowThresholdError if the recommended prompt scored below ``threshold`` or was not scored."""
    if threshold is None:
        return
    score = result.score
    if score is None or score < threshold:
        shown = "no score" if score is None else f"{score:.3f}"
        raise ScoreBelowThresholdError(
            f"The recommended prompt has {shown}, below --fail-under {threshold:g}.",
            "Give the search more budget, or lower the threshold.",
        )


def _with_key(config: RunConfig) -> dict[str, Any]:
    """Return the document to submit; a task app key of the config travels in it, as published clients send it."""
    document = config.as_dict()
    if config.task_app_api_key is not None:
        document["prompt_learning"]["task_app_api_key"] = config.task_app_api_key.get_secret_value()
    return document
