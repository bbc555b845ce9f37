"""Step 6: what came out of it."""

from __future__ import annotations

import json
from typing import Any

from mipro_walk.errors import ConfigError
from mipro_walk.results import DOCUMENT_NAMES, REPORT
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.steps import Introduction, PlainStep
from mipro_walk.walkthrough.submit_job import report_problem_in_words

MAX_BYTES = 50_000_000


class Results(PlainStep):
    """Lists the files and shows the verdict."""

    number = 6
    title = "Results"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        return Introduction(
            "Shows the verdict on unseen rows, the recommended prompt, how the search went and what it cost. "
            "The same is kept in JSON files that you can use in your own programs, and in report.html to look at.",
            "mipro-walk results",
            "a second",
        )

    def may_skip(self, ctx: Context) -> bool:
        """Whether somebody may do without: always, the files stay."""
        return True

    def run(self, ctx: Context) -> StepResult:
        """Show files and results."""
        documents = ctx.result.documents if ctx.result else _read(ctx)
        paths = [(name, ctx.workdir.results / name) for name in (*DOCUMENT_NAMES, REPORT)]
        found = [(name, path) for name, path in paths if path.exists()]
        if ctx.result is not None and ctx.result.report_problem:
            ctx.ui.warn(report_problem_in_words(ctx.result))
        ctx.ui.say(f"Files in {ctx.workdir.results}:")
        ctx.ui.table(("File", "Bytes"), [(name, f"{path.stat().st_size:,}") for name, path in found])
        ctx.ui.results(documents, str(ctx.workdir.results))
        return StepResult({"files": [str(path) for _, path in found]})


def _read(ctx: Context) -> dict[str, dict[str, Any]]:
    """Return the documents of an earlier run.

    Raises:
        ConfigError: there are none, or they are damaged.
    """
    documents = {}
    for name in DOCUMENT_NAMES:
        path = ctx.workdir.results / name
        try:
            with path.open("rb") as file:
                documents[name] = json.loads(file.read(MAX_BYTES))
        except FileNotFoundError as exc:
            raise ConfigError(f"There is no {path}.", "Run the job first: mipro-walk run --from-step 5") from exc
        except (OSError, ValueError, RecursionError) as exc:
            raise ConfigError(f"{path} cannot be read as JSON.", "Run the job again, or see mipro-walk jobs.") from exc
    return documents
