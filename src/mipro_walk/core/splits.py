"""What is checked about the rows before the first call: splits that overlap, pools that teach or measure nothing.

Test rows are never touched; what resembles them leaves ``val`` and ``train``, what resembles a ``val`` row leaves
``train``. So no demonstration is ever one of the rows that a prompt is scored on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mipro_walk.core.leaks import LeakGuard
from mipro_walk.core.overlap import near_duplicates, normal
from mipro_walk.core.settings import OptimizerSettings, SearchSettings
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.types import Example, Split, Task, fingerprint

MAJORITY = 0.5
IMBALANCE = 5.0
"""A label with more than half of a pool and five times the rows of another is worth a warning."""
MIXED_SHARE = 0.5
"""An order whose first rows (as many as there are labels) show fewer labels than this share is not mixed; a shuffled,
balanced one shows 63 %."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class Overlap:
    """A row that was dropped because it is, or nearly is, a row of another split. ``similarity`` is 0..1."""

    dropped: tuple[Split, int]
    kept: tuple[Split, int]
    similarity: float


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What was found and done.

    Attributes:
        rows: rows of each split after cleaning.
        split_hash: SHA-256 over all rows of all splits, in order, after cleaning.
        overlaps: the rows that were dropped.
        warnings: everything a person should know, in words.
    """

    rows: dict[str, int]
    split_hash: str
    overlaps: tuple[Overlap, ...]
    warnings: tuple[str, ...]


def clean(task: Task) -> tuple[Task, SplitReport]:
    """Return the task with disjoint splits and a mixed ``val`` order, and what was done. Deterministic."""
    held_out: dict[Split, Sequence[Example]] = {"test": task.test, "pinned": task.pinned}
    val, from_val = _without(task.val, "val", held_out)
    train, from_train = _without(task.train, "train", {**held_out, "val": val})
    mixed = val if not task.labels or is_mixed(val) else mix(val)
    cleaned = replace(task, train=tuple(train), val=tuple(mixed))
    overlaps = (*from_val, *from_train)
    warnings = [*_overlap_warnings(overlaps), *_pool_warnings(cleaned)]
    if mixed is not val:
        warnings.append(
            "val was ordered by label; its rows were interleaved, since candidates are scored on the first ones"
        )
    hashed = [[split, [[r.query, r.label] for r in cleaned.rows(split)]] for split in ("train", "val", "test")]
    rows = {split: len(cleaned.rows(split)) for split in ("train", "val", "test")}
    return cleaned, SplitReport(rows, fingerprint(hashed), overlaps, tuple(warnings))


def check_pools(task: Task, settings: OptimizerSettings) -> None:
    """Refuse pools that MIPRO cannot work with.

    Raises:
        ConfigError: as :func:`check_rows`, or more demonstrations than rows.
    """
    check_rows(task, settings, needs_train=settings.optimize_demos or settings.num_bootstrap_seeds > 0)
    if settings.optimize_demos and settings.num_demos > len(task.train):
        raise ConfigError(
            f"num_demos = {settings.num_demos} is larger than the train pool ({len(task.train)} rows).",
            f"Set num_demos to {len(task.train)} or less, or add rows to bootstrap_train_seeds.",
        )


def check_rows(task: Task, settings: SearchSettings, *, needs_train: bool) -> None:
    """Refuse pools that no algorithm can work with.

    Raises:
        ConfigError: an empty split, a pool of one label, or a starting instruction that lacks a fixed part.
    """
    if missing := [part for part in task.fixed if part not in task.instruction]:
        raise ConfigError(
            f"The starting instruction lacks a fixed part of the task: {missing[0][:80]!r}.",
            "Leave initial_prompt out of the configuration, or keep the fixed parts in it, byte for byte.",
        )
    if not task.val:
        raise ConfigError("The val split has no rows to search on.", "Give online_pool at least one seed.")
    if not task.train and needs_train:
        raise ConfigError("The train split has no rows.", "Give bootstrap_train_seeds at least one seed.")
    if settings.test_size and not task.test:
        raise ConfigError("The test split has no rows for the final test.", "Give test rows, or set test_size = 0.")
    for name, rows in (("train", task.train), ("val", task.val)):
        if task.labels and len(task.labels) > 1 and len(rows) > 1 and len({row.label for row in rows}) == 1:
            raise ConfigError(
                f"Every row of the {name} pool has the label {rows[0].label!r}: nothing can be learned from it.",
                "Choose seeds that cover several labels; seeds follow the task app's stratified order.",
            )


def is_mixed(rows: Sequence[Example]) -> bool:
    """Whether the first rows of an order show a fair part of its labels."""
    labels = len({row.label for row in rows})
    return len({row.label for row in rows[:labels]}) >= MIXED_SHARE * labels


def mix(rows: Sequence[Example]) -> list[Example]:
    """Spread the rows of every label evenly over the order, so that each prefix looks like the whole."""
    total, seen = Counter(row.label for row in rows), Counter[str]()
    places: list[tuple[float, int]] = []
    for number, row in enumerate(rows):
        places.append(((seen[row.label] + 0.5) / total[row.label], number))
        seen[row.label] += 1
    return [rows[number] for _, number in sorted(places)]


def _without(
    rows: Sequence[Example], name: Split, others: dict[Split, Sequence[Example]]
) -> tuple[Sequence[Example], list[Overlap]]:
    found: dict[int, Overlap] = {}
    for split, kept in others.items():
        for mine, theirs, similarity in near_duplicates([r.query for r in rows], [r.query for r in kept]):
            overlap = Overlap((name, rows[mine].seed), (split, kept[theirs].seed), similarity)
            if mine not in found or similarity > found[mine].similarity:
                found[mine] = overlap
    return [row for number, row in enumerate(rows) if number not in found], [found[n] for n in sorted(found)]


def _overlap_warnings(overlaps: Sequence[Overlap]) -> Iterator[str]:
    by_pair: dict[tuple[str, str], list[Overlap]] = {}
    for overlap in overlaps:
        by_pair.setdefault((overlap.dropped[0], overlap.kept[0]), []).append(overlap)
    for (dropped, kept), found in by_pair.items():
        exact = sum(overlap.similarity == 1.0 for overlap in found)
        named = ", ".join(f"{o.dropped[1]} like {o.kept[1]}" for o in found[:NAMED])
        yield (
            f"{counted(len(found), 'row')} of {dropped} dropped for resembling {kept}: {exact} exactly, "
            f"{len(found) - exact} nearly (seeds {named}{', …' if len(found) > NAMED else ''})"
        )


def _pool_warnings(task: Task) -> Iterator[str]:
    if LeakGuard(task, allow_baseline=False).problem(task.instruction):
        yield "the starting instruction holds text of val or test rows, so its own score flatters"
    for name in ("train", "val", "test"):
        yield from _contradictions(name, task.rows(name))
        if not task.labels:
            continue
        counts = Counter(row.label for row in task.rows(name))
        if missing := [label for label in task.labels if label not in counts and counts]:
            yield f"{len(missing)} of {len(task.labels)} labels have no row in {name}: {_some(missing)}"
        top = counts.most_common()
        if top and top[0][1] > MAJORITY * counts.total() and top[0][1] > IMBALANCE * top[-1][1]:
            share = top[0][1] / counts.total()
            yield f"{name} is unbalanced: always answering {top[0][0]!r} would score {share:.2f} on it"


def _contradictions(name: str, rows: Sequence[Example]) -> Iterator[str]:
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(normal(row.query), set()).add(row.label)
    if clashing := [query for query, found in labels.items() if len(found) > 1]:
        yield f"{len(clashing)} inputs of {name} stand there with different labels: {_some(clashing)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:NAMED]) + (", …" if len(names) > NAMED else "")
