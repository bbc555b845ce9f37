"""What every export is made of: the documents of a job, the chosen prompt in them, and what the ledger recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.clients.replies import without_surrogates
from mipro_walk.errors import ConfigError
from mipro_walk.exports.names import PromptChoice
from mipro_walk.request_template import RequestTemplate
from mipro_walk.results.names import BEST_PROMPT, JOB_METADATA, SCORE_HISTORY
from mipro_walk.types import Candidate, Demonstration, Example, Usage

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What only the ledger knows of a job.

    Attributes:
        context_hash: what the identities of its rollouts begin with.
        rows: by split; empty for a job of a version that did not record them.
        outcomes: score, predicted and reason, by the rollout's identity.
        usage: what was consumed, by tag.
    """

    context_hash: str
    rows: Mapping[str, Sequence[Example]]
    outcomes: Mapping[str, Mapping[str, Any]]
    usage: Mapping[str, Usage]


@dataclass(frozen=True)
class ExportSource:
    """A finished job, and which of its prompts is wanted. Texts come as the model saw them: no lone surrogates.

    Attributes:
        documents: by file name; ``best_prompt.json`` is there.
        choice: which prompt.
        recorded: ``None`` for a job that another machine's ledger holds.
    """

    documents: Mapping[str, Document]
    choice: PromptChoice = "recommended"
    recorded: Recorded | None = field(default=None, repr=False)

    @property
    def best(self) -> Document:
        """``best_prompt.json``."""
        return self.documents[BEST_PROMPT]

    @property
    def name(self) -> str:
        """Which prompt it is: ``winner`` or ``baseline``."""
        return str(self.best["recommendation"]) if self.choice == "recommended" else self.choice

    @property
    def candidate(self) -> Candidate:
        """The chosen prompt's texts."""
        prompt = self.best[self.name]
        demos = tuple(Demonstration(clean(d["query"]), clean(d["label"])) for d in prompt["demonstrations"])
        return Candidate(clean(prompt["instruction"]), demos)

    def request(self) -> RequestTemplate:
        """Return the request that the chosen prompt really sends.

        Raises:
            ConfigError: it is not known.
        """
        prompt = self.best[self.name]
        if prompt.get("request"):
            try:
                return RequestTemplate.from_dict(prompt["request"])
            except ValueError as exc:
                raise ConfigError(
                    f"The request in best_prompt.json is damaged: {exc}.", "Export the job by its id."
                ) from exc
        if "request" in prompt:
            why = "its requests differ in more than the query, or no call was answered"
        else:
            why = "the job was made by a version that did not record requests"
        raise ConfigError(
            f"There is no request to export for the {self.name} prompt: {why}.",
            "Export it as text, markdown or dspy, which need its texts only.",
        )

    def history(self) -> Document:
        """Return ``score_history.json``. Raises ConfigError if it is missing."""
        return self._require(SCORE_HISTORY)

    def metadata(self) -> Document:
        """Return ``job_metadata.json``. Raises ConfigError if it is missing."""
        return self._require(JOB_METADATA)

    def ledger(self) -> Recorded:
        """Return what the ledger recorded. Raises ConfigError if it is not here."""
        if self.recorded is None:
            raise ConfigError(
                "This machine's ledger does not hold the job, and its rollouts stand nowhere else.",
                "Export it on the machine whose backend ran the job, with the same MIPRO_WALK_HOME.",
            )
        return self.recorded

    def _require(self, name: str) -> Document:
        if name not in self.documents:
            raise ConfigError(f"There is no {name} among the results.", "Export the job by its id.")
        return self.documents[name]


def clean(text: object) -> str:
    """Return a text as it reaches a model."""
    return without_surrogates(str(text))
