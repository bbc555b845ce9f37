"""Says in words how rows were divided, what each split is for, and what the final test will be able to see."""

from __future__ import annotations

from collections.abc import Iterator

from mipro_walk.core.statistics import detectable_difference
from mipro_walk.counting import counted
from mipro_walk.project.answers import Rules
from mipro_walk.project.rows import shown
from mipro_walk.project.splitting import SPLITS, Splits
from mipro_walk.types import Split

DISCORDANCE = 0.3
"""Assumed share of test rows on which two prompts differ; the real one is known only after the test."""
NAMED = 5
PURPOSE: dict[Split, str] = {
    "train": "demonstrations and new instructions come from these",
    "val": "the search compares candidates on these",
    "test": "asked once, at the end, for the verdict",
}


def explain_split(splits: Splits, rules: Rules, rng_seed: int, test_size: int) -> list[str]:
    """Return sentences about a division. ``test_size`` is how many test rows a run will use."""
    sizes = ", ".join(f"{split} {counted(len(splits.rows[split]), 'row')} ({PURPOSE[split]})" for split in SPLITS)
    seen = what_a_test_sees(splits, rules, test_size)
    return [f"Divided into {sizes}.", _how(rules, rng_seed), *_gaps(splits, rules), *seen]


def what_a_test_sees(splits: Splits, rules: Rules, test_size: int) -> Iterator[str]:
    """Yield what ``test_size`` rows can and cannot show."""
    n = min(test_size, len(splits.rows["test"]))
    points = detectable_difference(n, DISCORDANCE) * 100
    rows = counted(n, "test row")
    if points >= 100:
        yield f"{rows} can prove nothing: add rows."
    else:
        yield (
            f"{rows} show a difference of {points:.0f} points or more in four runs of five (if the prompts differ on "
            "three rows of ten); smaller gains will mostly end as 'no significant gain'."
        )
    counts = {label: by_split["test"] for label, by_split in splits.counts().items()}
    total = sum(counts.values())
    top = max(counts, key=lambda label: counts[label])
    if rules.kind == "classification" and total:
        yield f"Always answering {shown(top)} would be right on {counts[top] / total:.0%} of the test rows."


def _how(rules: Rules, rng_seed: int) -> str:
    if rules.split_column is not None:
        return f"The column {shown(rules.split_column)} says which row goes where."
    balance = {
        "classification": ", each label in the same proportions",
        "rating": ", each rating in the same proportions",
    }
    balanced = balance.get(rules.kind, ", rare labels first" if rules.kind == "multi_label" else "")
    return (
        f"Drawn by rng seed {rng_seed}{balanced}: the same file gives the same division, and rows with the same text "
        "stay together."
    )


def _gaps(splits: Splits, rules: Rules) -> Iterator[str]:
    if rules.kind != "classification":
        return
    counts = splits.counts()
    for split in SPLITS:
        missing = sorted(label for label, by_split in counts.items() if not by_split[split])
        if missing:
            named = ", ".join(shown(label, 30) for label in missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
            yield f"{counted(len(missing), 'label')} of {len(counts)} not in {split}, for want of rows: {named}."


def split_table(splits: Splits, limit: int = 12) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and rows of a table of labels by split, the largest labels first, the rest in one row."""
    counts = sorted(splits.counts().items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [(label, *(str(by_split[split]) for split in SPLITS)) for label, by_split in counts if label]
    if len(rows) > limit:
        rest = counts[limit:]
        summed = (str(sum(by_split[split] for _, by_split in rest)) for split in SPLITS)
        rows = [*rows[:limit], (f"{len(rest)} more", *summed)]
    total = ("all", *(str(len(splits.rows[split])) for split in SPLITS))
    return ("", *SPLITS), [*rows, total]
