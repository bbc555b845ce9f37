"""The task app over HTTP: its description, its rows, one rollout at a time.

Speaks the full contract of ``docs/task-app-api.md`` and lives with its minimum: an answer needs no more than
``metrics.mean_return``. What is not a finite score in 0..1 is an unknown outcome, never a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from mipro_walk.clients.http import make_client, parse_json, require_http_url
from mipro_walk.errors import ConfigError, KeyMissingError, UnreachableError
from mipro_walk.types import Example, Outcome, fingerprint

INFO_TIMEOUT_SECONDS = 10.0
SEEDS_PER_CALL = 200
"""Seeds go into the URL; longer ones are refused by some servers."""
MAX_ANSWER_CHARS = 500
MAX_FIGURES = 200


@dataclass(frozen=True, slots=True)
class TaskAppInfo:
    """What ``/task_info`` says without seeds.

    Attributes:
        split_rows: rows by split name; empty if the app does not say.
        dataset_hash: over the split hashes; empty if the app does not give them.
        source: where its rows come from, in words.
        kind: what an answer is; empty if the app does not say.
        fixed: texts that every instruction must hold.
    """

    task_app_id: str
    name: str
    description: str
    labels: tuple[str, ...]
    instruction: str
    split_rows: Mapping[str, int]
    dataset_hash: str
    source: str
    default_split: str
    kind: str
    fixed: tuple[str, ...]
    raw: Mapping[str, Any]

    @property
    def needs_judge(self) -> bool:
        """Whether answers are scored by a judge model."""
        return isinstance(self.raw.get("judge"), dict)


class TaskAppClient:
    """One task app. Safe to use from several threads."""

    def __init__(self, base_url: str, key: str, *, rollout_timeout_seconds: float = 200.0) -> None:
        self.base_url = require_http_url(base_url, "task_app_url")
        headers = {"X-API-Key": key, "Authorization": f"Bearer {key}"}
        self._client = make_client(self.base_url, timeout=rollout_timeout_seconds, headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def health(self) -> Mapping[str, Any]:
        """Return the answer of ``/health``. Raises UnreachableError or KeyMissingError."""
        body = self._get("/health")
        return body if isinstance(body, dict) else {}

    def info(self, env_config: Mapping[str, Any]) -> TaskAppInfo:
        """Return what the app is about, for the slice that ``env_config`` names."""
        body = self._get("/task_info", _slice_params(env_config))
        if not isinstance(body, dict):
            raise UnreachableError(f"{self.base_url}/task_info did not answer with a JSON object.", _CHECK_APP)
        task = _mapping(body, "task")
        splits = {k: v for k, v in _mapping(body, "splits").items() if isinstance(v, dict)}
        hashes = {name: split.get("sha256") for name, split in splits.items()}
        source = _mapping(body, "source")
        return TaskAppInfo(
            task_app_id=str(body.get("task_app_id") or task.get("id") or "task_app"),
            name=str(task.get("name") or body.get("task_app_id") or "task"),
            description=str(task.get("description") or ""),
            labels=tuple(str(label) for label in body.get("labels") or ()),
            instruction=str(_mapping(body, "prompt").get("instruction") or ""),
            split_rows={name: int(split.get("rows") or 0) for name, split in splits.items()},
            dataset_hash=fingerprint(hashes) if hashes and all(hashes.values()) else "",
            source=": ".join(str(source[k]) for k in ("name", "detail") if source.get(k)) or "unknown",
            default_split=str(body.get("default_split") or "train"),
            kind=str(body.get("kind") or ""),
            fixed=tuple(str(part) for part in _mapping(body, "prompt").get("fixed") or ()),
            raw=body,
        )

    def rows(self, split: str, seeds: Sequence[int], env_config: Mapping[str, Any]) -> list[Example]:
        """Return the rows of ``seeds`` in their order.

        Raises:
            ConfigError: a seed is out of range, or the app does not reveal queries and labels.
        """
        rows: list[Example] = []
        for start in range(0, len(seeds), SEEDS_PER_CALL):
            wanted = seeds[start : start + SEEDS_PER_CALL]
            params = [*_slice_params(env_config), ("split", split), *(("seed", str(seed)) for seed in wanted)]
            body = self._get("/task_info", params)
            found = _task_infos(body, wanted)
            rows += [_example(seed, found.get(seed), split) for seed in wanted]
        return rows

    def rollout(self, body: Mapping[str, Any]) -> Outcome:
        """POST one rollout. Never raises for what the app does: a failure is an unknown outcome."""
        try:
            response = self._client.post("/rollout", json=dict(body))
        except httpx.TimeoutException:
            return Outcome(None, None, "the task app did not answer in time")
        except httpx.HTTPError as exc:
            return Outcome(None, None, f"the task app is unreachable ({type(exc).__name__})")
        if response.status_code != 200:
            return Outcome(None, None, f"the task app answered {response.status_code}: {_error_text(response)}")
        return read_outcome(parse_json(response))

    def _get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        try:
            response = self._client.get(path, params=list(params), timeout=INFO_TIMEOUT_SECONDS)
        except httpx.HTTPError as exc:
            raise UnreachableError(
                f"The task app at {self.base_url} does not answer ({type(exc).__name__}).", _CHECK_APP
            ) from exc
        if response.status_code in (401, 403):
            raise KeyMissingError(
                f"The task app at {self.base_url} refused the key.",
                "Use the ENVIRONMENT_API_KEY it was started with (env_key.txt in the work folder).",
            )
        if response.status_code in (400, 422):
            raise ConfigError(
                f"The task app refused {path}: {_error_text(response)}", "Correct the seeds or env_config."
            )
        if response.status_code != 200:
            raise UnreachableError(f"{self.base_url}{path} answered {response.status_code}.", _CHECK_APP)
        return parse_json(response)


_CHECK_APP = "Start it with `mipro-walk task-app start`, or correct task_app_url; see task_app.log."


def read_outcome(body: Any) -> Outcome:
    """Read a rollout answer: ``metrics.mean_return`` first, then ``outcome_score``, then the step rewards."""
    if not isinstance(body, dict):
        return Outcome(None, None, "the task app did not answer with a JSON object")
    metrics = body.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    if error := body.get("error") or metrics.get("error"):
        return Outcome(None, None, f"the task app reports an error: {str(error)[:200]}")
    score = next((v for v in (metrics.get("mean_return"), metrics.get("outcome_score")) if v is not None), None)
    if score is None:
        score = _mean_step_reward(body)
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
        return Outcome(None, None, f"the task app gave no score between 0 and 1 but {str(score)[:50]!r}")
    details = metrics.get("details")
    details = details if isinstance(details, dict) else {}
    predicted = details.get("predicted")
    return Outcome(
        float(score),
        None if predicted is None else str(predicted)[:MAX_ANSWER_CHARS],
        str(details.get("reason") or "")[:200],
        _figures(details.get("figures")),
    )


def _figures(value: Any) -> dict[str, float]:
    """Return the further measures that are finite numbers; others say nothing."""
    items = list(value.items())[:MAX_FIGURES] if isinstance(value, dict) else []
    return {
        str(name)[:100]: float(number)
        for name, number in items
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    }


def _mean_step_reward(body: Mapping[str, Any]) -> float | None:
    try:
        rewards = [float(step["reward"]) for trajectory in body["trajectories"] for step in trajectory["steps"]]
    except (KeyError, TypeError, ValueError):
        return None
    return sum(rewards) / len(rewards) if rewards else None


def _task_infos(body: Any, seeds: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """Accept the three shapes in use: one object, a list in the asked order, an object keyed by seed."""
    if isinstance(body, dict) and all(str(seed) in body for seed in seeds):
        return {seed: body[str(seed)] for seed in seeds}
    infos = body if isinstance(body, list) else [body]
    return {seed: info for seed, info in zip(seeds, infos, strict=False) if isinstance(info, dict)}


def _example(seed: int, info: Mapping[str, Any] | None, split: str) -> Example:
    metadata = _mapping(info or {}, "task_metadata")
    query, label = metadata.get("query"), metadata.get("label")
    if not isinstance(query, str) or not isinstance(label, str):
        raise ConfigError(
            f"The task app does not reveal query and label of seed {seed} in split {split!r}.",
            "Let /task_info answer them in task_metadata: demonstrations are made of them.",
        )
    return Example(seed, query, label)


def _slice_params(env_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    value = env_config.get("num_intents")
    return [] if value is None else [("num_intents", str(value))]


def _mapping(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _error_text(response: httpx.Response) -> str:
    body = parse_json(response)
    detail = body.get("detail", body) if isinstance(body, dict) else body
    if isinstance(detail, dict):
        error = detail.get("error", detail)
        detail = error.get("message", error) if isinstance(error, dict) else error
    return str(detail)[:200]
