"""Every key of ``task.toml`` with its type, range, default and explanation."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["classification", "multi_label", "extraction", "short_answer", "rating", "judged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Metric = Literal["exact", "f1", "fields", "within_one", "closeness"]

METRICS: dict[Kind, tuple[Metric, ...]] = {
    "classification": ("exact",),
    "multi_label": ("f1", "exact"),
    "extraction": ("fields", "exact"),
    "short_answer": ("f1", "exact"),
    "rating": ("exact", "within_one", "closeness"),
    "judged": (),
}
"""The metrics of each kind, its default first. A judged answer is scored by the judge alone."""

SCORING_KEYS: dict[Kind, tuple[str, ...]] = {
    "classification": ("metric",),
    "multi_label": ("metric",),
    "extraction": ("metric", "schema"),
    "short_answer": ("metric", "separator"),
    "rating": ("metric", "low", "high"),
    "judged": ("rubric", "low", "high", "noise_rows"),
}
"""The keys of ``[scoring]`` that mean something for each kind."""

Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
Text = Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]


class Section(BaseModel):
    """One table of the file: strict types, no unknown key."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class TaskSection(Section):
    """``[task]``: what is to be solved."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")] = Field(description="Short name: a-z, 0-9, _ and -.")
    kind: Kind = Field(description="What an answer is, and so how it is scored.")
    description: Text = Field(description="One or two sentences for the model that writes instructions.")
    instruction: Text = Field(description="The system text to start from; {{fixed}}…{{/fixed}} parts stay as they are.")
    pinned: list[Annotated[int, Field(ge=1, le=10_000_000)]] = Field(
        default_factory=list, max_length=200, description="Row numbers of the data that must not get worse."
    )


class DataSection(Section):
    """``[data]``: where the rows are and how they are divided."""

    file: Line | None = Field(None, description="The data file, relative to this folder.")
    hub: Line | None = Field(None, description="A hub data set, owner/name, in place of a file.")
    revision: Line | None = Field(None, description="Its revision.")
    hub_config: Line | None = Field(None, description="Its configuration.")
    hub_split: Line | None = Field(None, description="Its split to read.")
    columns: list[Line] = Field(min_length=1, max_length=50, description="Input columns.")
    target: Line = Field(description="The column with the right answer.")
    encoding: Line = Field("utf-8", description="The file's encoding.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="What divides the cells of a CSV file, where it cannot be found out."
    )
    sheet: Line | None = Field(None, description="The sheet of an Excel workbook; default: the first one.")
    max_mb: float | None = Field(None, gt=0, le=100_000, description="Size limit of the file in MB; default: 100.")
    rng_seed: int = Field(0, ge=0, le=2**31 - 1, description="Divides the rows; the same number, the same rows.")
    train: float | None = Field(None, ge=0, le=1, description="Share of rows for demonstrations.")
    val: float | None = Field(None, ge=0, le=1, description="Share of rows for the search.")
    test: float | None = Field(None, ge=0, le=1, description="Share of rows for the final test.")
    split_column: Line | None = Field(None, description="A column that says train, val or test, in place of shares.")

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each split; they add up to 1."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        if all(share is None for share in given.values()):
            return dict(DEFAULT_SHARES)
        return {name: share or 0.0 for name, share in given.items()}


DEFAULT_SHARES = {"train": 0.4, "val": 0.3, "test": 0.3}


class PromptSection(Section):
    """``[prompt]``: how a row becomes a question."""

    template: Text | None = Field(None, description="The question with {column} fields; default: the only column.")


class LabelsSection(Section):
    """``[labels]``: the possible answers, for classification and multi_label."""

    values: list[Line] | None = Field(None, min_length=1, max_length=2000, description="The labels.")
    file: Line | None = Field(None, description="A CSV file with the columns label and, optionally, description.")
    separator: Line = Field(";", description="Between the labels of one row (multi_label).")


class ScoringSection(Section):
    """``[scoring]``: how an answer is scored; which keys there are depends on the kind."""

    model_config = ConfigDict(populate_by_name=False)

    metric: Metric | None = Field(None, description="What counts as right.")
    low: int | None = Field(None, ge=-1000, le=1000, description="The lowest rating.")
    high: int | None = Field(None, ge=-1000, le=1000, description="The highest rating.")
    schema_file: Line | None = Field(None, alias="schema", description="A file with the JSON schema of the answer.")
    separator: Line | None = Field(None, description="Between several right answers of one row (short_answer).")
    rubric: Text | None = Field(None, description="What the judge looks at, in words.")
    noise_rows: int = Field(5, ge=0, le=200, description="Test rows that the judge rates twice, to see its noise.")


SECTIONS: dict[str, type[Section]] = {
    "task": TaskSection,
    "data": DataSection,
    "prompt": PromptSection,
    "labels": LabelsSection,
    "scoring": ScoringSection,
}
