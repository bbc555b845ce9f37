"""Phase 1, demonstrations: what the baseline gets right and confuses, and sets built in several ways."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mipro_walk.core.search_space import DemoSet
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.types import Example, Outcome, Task

BUILD_ATTEMPTS = 20


@dataclass
class Evidence:
    """What the baseline did on the train rows of the bootstrap rounds."""

    proven: list[Example] = field(default_factory=list)
    """Rows it answered right."""
    mistakes: list[tuple[Example, str]] = field(default_factory=list)
    """Rows it answered wrong, each with the answer it gave (empty if there was none)."""

    def add(self, example: Example, outcome: Outcome) -> None:
        """Sort one outcome in; unknown outcomes say nothing."""
        if outcome.score is None:
            return
        if outcome.score >= 1.0:
            self.proven.append(example)
        else:
            self.mistakes.append((example, outcome.predicted or ""))

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """``(expected, predicted, times)``, most frequent first."""
        counted = Counter((row.label, predicted) for row, predicted in self.mistakes)
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        return [(expected, predicted, times) for (expected, predicted), times in ordered]


def bootstrap_rows(task: Task, round_index: int, count: int, rng_seed: int) -> list[Example]:
    """Return the train rows of one bootstrap round, drawn for it alone, in a fixed order."""
    rng = random.Random(f"bootstrap-{rng_seed}-{round_index}")  # noqa: S311 - sampling, not security
    return rng.sample(list(task.train), min(count, len(task.train)))


def build_demo_sets(task: Task, evidence: Evidence, settings: OptimizerSettings) -> list[DemoSet]:
    """Return at most ``num_demo_sets`` different sets; the first one is empty.

    The builders take turns: *covering* (every label at most once before any comes twice), *proven* (rows the
    baseline answered right, then covering), *contrastive* (labels that were confused stand side by side) and
    *random*. With ``num_demos = 0`` or ``optimize_demos = false`` there is only the empty set.
    """
    sets = [DemoSet((), (), "empty")]
    if settings.num_demos == 0 or not settings.optimize_demos:
        return sets
    seen: set[tuple[int, ...]] = {()}
    for draw, (name, build) in zip(range(settings.num_demo_sets * BUILD_ATTEMPTS), _turns(), strict=False):
        rng = random.Random(f"demos-{settings.rng_seed}-{draw}")  # noqa: S311 - sampling, not security
        rows = build(task.train, evidence, settings.num_demos, rng)
        seeds = tuple(row.seed for row in rows)
        if seeds not in seen:
            seen.add(seeds)
            sets.append(DemoSet(tuple(row.as_demonstration() for row in rows), seeds, name))
        if len(sets) >= settings.num_demo_sets:
            break
    return sets


Builder = Callable[[Sequence[Example], Evidence, int, random.Random], list[Example]]


def _turns() -> Iterator[tuple[str, Builder]]:
    builders: list[tuple[str, Builder]] = [
        ("covering", _covering),
        ("proven", _proven),
        ("contrastive", _contrastive),
        ("covering", _covering),
        ("random", _random),
    ]
    while True:
        yield from builders


def _random(pool: Sequence[Example], evidence: Evidence, size: int, rng: random.Random) -> list[Example]:
    return rng.sample(list(pool), min(size, len(pool)))


def _covering(pool: Sequence[Example], evidence: Evidence, size: int, rng: random.Random) -> list[Example]:
    return _shuffled(_cover(list(pool), [], size, rng), rng)


def _proven(pool: Sequence[Example], evidence: Evidence, size: int, rng: random.Random) -> list[Example]:
    proven = [row for row in pool if row in evidence.proven]
    first = _cover(proven, [], min(size, max(1, len(proven))), rng)
    return _shuffled(_cover(list(pool), first, size, rng), rng)


def _contrastive(pool: Sequence[Example], evidence: Evidence, size: int, rng: random.Random) -> list[Example]:
    """Take one row of each label of the most confused pairs, side by side, then cover the other labels."""
    chosen: list[Example] = []
    used: set[str] = set()
    for expected, predicted, _ in evidence.confusions:
        pair = [label for label in (expected, predicted) if label not in used]
        rows = [row for label in pair for row in _draw(pool, label, chosen, rng)]
        if len(chosen) + len(rows) <= size:
            chosen += rows
            used.update(pair)
    # The pairs go last, nearest to the question.
    filled = _cover(list(pool), chosen, size, rng)
    return _shuffled(filled[len(chosen) :], rng) + chosen


def _draw(pool: Sequence[Example], label: str, taken: Sequence[Example], rng: random.Random) -> list[Example]:
    rows = [row for row in pool if row.label == label and row not in taken]
    return [rng.choice(rows)] if rows else []


def _cover(pool: list[Example], start: list[Example], size: int, rng: random.Random) -> list[Example]:
    """Extend ``start`` to ``size`` rows, always with a row of a label that has come least often."""
    chosen = list(start)
    counts = Counter(row.label for row in chosen)
    rest = [row for row in pool if row not in chosen]
    rng.shuffle(rest)
    while rest and len(chosen) < size:
        row = min(rest, key=lambda candidate: counts[candidate.label])
        rest.remove(row)
        chosen.append(row)
        counts[row.label] += 1
    return chosen


def _shuffled(rows: list[Example], rng: random.Random) -> list[Example]:
    rng.shuffle(rows)
    return rows
