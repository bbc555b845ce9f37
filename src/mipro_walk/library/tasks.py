"""A task from plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mipro_walk.errors import ConfigError
from mipro_walk.types import Example, Split, Stage, Task, fingerprint

Pairs = Iterable[tuple[str, str]]
"""Rows: ``(query, label)``."""
MIN_ROWS_PER_LABEL = 2.0
"""Labels that come less often, on average, are free answers and no list to choose from."""


def make_task(
    name: str,
    instruction: str | Mapping[str, str],
    train: Pairs,
    val: Pairs,
    test: Pairs,
    *,
    description: str = "",
    labels: Sequence[str] | None = None,
    pinned: Pairs = (),
) -> Task:
    """Build a task from ``(query, label)`` pairs. ``test`` is scored once, at the end.

    Rows of ``train`` and ``val`` that resemble rows of ``test``, and rows of ``train`` that resemble rows of ``val``,
    are dropped when the task is optimized; ``OptimizationResult.data`` names them.

    Args:
        name: short identifier.
        instruction: the prompt to improve; for a program of several stages the instruction of each by its name, in
            the order in which they are asked.
        train: rows for demonstrations.
        val: rows that the search scores candidates on.
        test: rows that the baseline and the winner answer once.
        description: one or two sentences for the meta-model.
        labels: the possible answers; ``()`` says that answers are free. ``None`` takes the labels of the rows if they
            repeat (two rows to a label, on average).
        pinned: rows that must not get worse; in no split.

    Raises:
        ConfigError: a row is no pair of texts, or a stage has no usable name or instruction.

    >>> task = make_task("colours", "Name it.", [("sky", "blue"), ("sea", "blue")], [("sun", "red")], [("egg", "red")])
    >>> task.labels
    ('blue', 'red')
    >>> program = make_task("trivia", {"words": "List keywords.", "answer": "Answer."}, [], [("q", "a")], [("r", "b")])
    >>> [stage.name for stage in program.stages], program.labels
    (['words', 'answer'], ())
    """
    given: dict[Split, Pairs] = {"train": train, "val": val, "test": test, "pinned": pinned}
    splits = {split: _examples(split, rows) for split, rows in given.items()}
    stages = () if isinstance(instruction, str) else _stages(instruction)
    hashed = [[split, [[row.query, row.label] for row in rows]] for split, rows in splits.items() if split != "pinned"]
    return Task(
        name=name,
        description=description or f"Give the right answer to the input ({name}).",
        instruction=stages[0].instruction if stages else str(instruction),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        labels=_labels(splits.values()) if labels is None else tuple(labels),
        dataset_hash=fingerprint(hashed),
        pinned=splits["pinned"],
        stages=stages,
    )


def _examples(split: Split, pairs: Pairs) -> list[Example]:
    rows = []
    for number, pair in enumerate(pairs):
        match pair:
            case (str(query), str(label)) if query.strip():
                rows.append(Example(number, query, label))
            case _:
                raise ConfigError(
                    f"Row {number} of {split} is no (query, label) pair of texts: {pair!r:.80}",
                    "Give each row as two texts, the first one not empty.",
                )
    return rows


def _stages(instructions: Mapping[str, str]) -> tuple[Stage, ...]:
    for name, text in instructions.items():
        if not name.isidentifier() or name.startswith("_"):
            raise ConfigError(f"{name!r} cannot name a stage.", "Use a Python name that begins with a letter.")
        if not text.strip():
            raise ConfigError(f"Stage {name!r} has no instruction.", "Give each stage the instruction to start from.")
    if len(instructions) < 2:
        raise ConfigError(
            f"A program has at least two stages; this one has {len(instructions)}.",
            "Give the instruction of a single prompt as a text.",
        )
    return tuple(Stage(name, text) for name, text in instructions.items())


def _labels(splits: Iterable[Sequence[Example]]) -> tuple[str, ...]:
    labels = [row.label for rows in splits for row in rows]
    distinct = sorted(set(labels))
    return tuple(distinct) if len(labels) >= MIN_ROWS_PER_LABEL * len(distinct) else ()
