"""Phase 1, demonstrations: what the baseline gets right and confuses, and sets built in several ways."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from mipro_walk.core.search_space import DemoSet
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.types import Example, Outcome, StageCall, Task

BUILD_ATTEMPTS = 20


@dataclass
class Evidence:
    """What the baseline did on the train rows of the bootstrap rounds."""

    proven: list[Example] = field(default_factory=list)
    """Rows it answered right."""
    mistakes: list[tuple[Example, str]] = field(default_factory=list)
    """Rows it answered wrong, each with the answer it gave (empty if there was none)."""
    traces: dict[int, tuple[StageCall, ...]] = field(default_factory=dict)
    """Of a program of several stages, its calls by the seed of the row."""

    def add(self, example: Example, outcome: Outcome) -> None:
        """Sort one outcome in; unknown outcomes say nothing."""
        if outcome.score is None:
            return
        if outcome.trace:
            self.traces[example.seed] = outcome.trace
        if outcome.score >= 1.0:
            self.proven.append(example)
        else:
            self.mistakes.append((example, outcome.predicted or ""))

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """``(expected, answered, times)``, most frequent first."""
        return count_confusions((row.label, predicted) for row, predicted in self.mistakes)

    def of_stage(self, stage: str) -> Evidence:
        """Return what this says of one stage of a program, in terms of what the stage was asked and answered.

        Where the program was right, so was the stage. Where it was wrong, nobody knows what the stage should have
        said, unless what it says is the program's answer. Of several calls in a row the first one counts.
        """
        calls = {seed: call for seed, trace in self.traces.items() if (call := _first_call(trace, stage))}
        proven = [
            Example(row.seed, calls[row.seed].query, calls[row.seed].answer) for row in self.proven if row.seed in calls
        ]
        asked = [(row, answer, calls[row.seed]) for row, answer in self.mistakes if row.seed in calls]
        says_answer = all(call.answer.strip() == answer.strip() for _, answer, call in asked)
        mistakes = [(Example(row.seed, call.query, row.label), answer) for row, answer, call in asked if says_answer]
        return Evidence(proven, mistakes)


def count_confusions(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Return ``(expected, answered, times)`` of wrong answers, most frequent first."""
    ordered = sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0]))
    return [(expected, answered, times) for (expected, answered), times in ordered]


def bootstrap_rows(task: Task, round_index: int, count: int, rng_seed: int) -> list[Example]:
    """Return the train rows of one bootstrap round, drawn for it alone, in a fixed order."""
    rng = random.Random(f"bootstrap-{rng_seed}-{round_index}")  # noqa: S311 - sampling, not security
    return rng.sample(list(task.train), min(count, len(task.train)))


@dataclass(frozen=True, slots=True)
class Lessons:
    """What demonstration sets are built from.

    Attributes:
        proven: train rows that were answered right.
        confusions: ``(expected, answered, times)``, most frequent first.
        leader: the train rows of the leading demonstration set; empty before there is one.
    """

    proven: Sequence[Example]
    confusions: Sequence[tuple[str, str, int]]
    leader: Sequence[Example] = ()


Builder = Callable[[Sequence[Example], Lessons, int, random.Random], list[Example]]


def demo_pool(
    task: Task, evidence: Evidence, settings: OptimizerSettings, stage: int
) -> tuple[Sequence[Example], Evidence]:
    """Return the rows that demonstrations of a stage are chosen from, and what is known of them.

    A single prompt has all train rows. A stage has those on which it was seen to be right. Only if these do not fill
    two sets, rows join them on which it is known to be wrong: the fault may lie with an earlier stage, whose answer
    would stand in the demonstration.
    """
    if not task.stages:
        return task.train, evidence
    found = evidence.of_stage(task.stages[stage].name)
    is_enough = len(found.proven) >= 2 * settings.num_demos
    pool = found.proven if is_enough else [*found.proven, *(row for row, _ in found.mistakes)]
    # Rows differ, but what a stage makes of them may not: the same text twice in a prompt, or two prompts of one text.
    return list({(row.query, row.label): row for row in reversed(pool)}.values())[::-1], found


def build_demo_sets(
    pool: Sequence[Example], evidence: Evidence, settings: OptimizerSettings, stage: int = 0
) -> list[DemoSet]:
    """Return at most ``num_demo_sets`` different sets from the rows of ``pool``; the first one is empty.

    The builders take turns: *covering* (every label at most once before any comes twice), *proven* (rows the
    baseline answered right, then covering), *contrastive* (labels that were confused stand side by side) and
    *random*. With ``num_demos = 0`` or ``optimize_demos = false`` there is only the empty set.
    """
    empty = DemoSet((), (), "empty")
    lessons = Lessons(evidence.proven, evidence.confusions)
    count = settings.num_demo_sets - 1
    return [empty, *_build(pool, lessons, settings, [empty], count, FIRST_BUILDERS, _draws(settings, 0, stage))]


def vary_demo_sets(
    pool: Sequence[Example],
    lessons: Lessons,
    settings: OptimizerSettings,
    existing: Sequence[DemoSet],
    generation: int,
    stage: int = 0,
) -> list[DemoSet]:
    """Return new sets of a later generation, half as many as the first one has.

    *contrastive* ones answer what the leaders confuse; *varied* ones keep two thirds of the leading set.
    """
    count = max(1, settings.num_demo_sets // 2)
    return _build(pool, lessons, settings, existing, count, LATER_BUILDERS, _draws(settings, generation, stage))


def _draws(settings: OptimizerSettings, generation: int, stage: int) -> str:
    return f"{settings.rng_seed}-{generation}" + (f"-{stage}" if stage else "")


def _first_call(trace: Iterable[StageCall], stage: str) -> StageCall | None:
    return next((call for call in trace if call.stage == stage), None)


def _build(
    pool: Sequence[Example],
    lessons: Lessons,
    settings: OptimizerSettings,
    existing: Sequence[DemoSet],
    count: int,
    builders: Sequence[tuple[str, Builder]],
    draws: str,
) -> list[DemoSet]:
    sets: list[DemoSet] = []
    if settings.num_demos == 0 or not settings.optimize_demos:
        return sets
    seen = {demo_set.seeds for demo_set in existing}
    for draw, (name, build) in zip(range(count * BUILD_ATTEMPTS), cycle(builders), strict=False):
        if len(sets) >= count:
            break
        rng = random.Random(f"demos-{draws}-{draw}")  # noqa: S311 - sampling, not security
        rows = build(pool, lessons, settings.num_demos, rng)
        seeds = tuple(row.seed for row in rows)
        if seeds not in seen:
            seen.add(seeds)
            sets.append(DemoSet(tuple(row.as_demonstration() for row in rows), seeds, name))
    return sets


def _random(pool: Sequence[Example], lessons: Lessons, size: int, rng: random.Random) -> list[Example]:
    return rng.sample(list(pool), min(size, len(pool)))


def _covering(pool: Sequence[Example], lessons: Lessons, size: int, rng: random.Random) -> list[Example]:
    return _shuffled(_cover(list(pool), [], size, rng), rng)


def _proven(pool: Sequence[Example], lessons: Lessons, size: int, rng: random.Random) -> list[Example]:
    proven = [row for row in pool if row in lessons.proven]
    first = _cover(proven, [], min(size, max(1, len(proven))), rng)
    return _shuffled(_cover(list(pool), first, size, rng), rng)


def _contrastive(pool: Sequence[Example], lessons: Lessons, size: int, rng: random.Random) -> list[Example]:
    """Take one row of each label of the most confused pairs, side by side, then cover the other labels."""
    chosen: list[Example] = []
    used: set[str] = set()
    for expected, predicted, _ in lessons.confusions:
        pair = [label for label in (expected, predicted) if label not in used]
        rows = [row for label in pair for row in _draw(pool, label, chosen, rng)]
        if len(chosen) + len(rows) <= size:
            chosen += rows
            used.update(pair)
    # The pairs go last, nearest to the question.
    filled = _cover(list(pool), chosen, size, rng)
    return _shuffled(filled[len(chosen) :], rng) + chosen


def _varied(pool: Sequence[Example], lessons: Lessons, size: int, rng: random.Random) -> list[Example]:
    """Keep the leading set but for a third of its rows; others, of confused labels first, take their places."""
    rows = list(lessons.leader)
    confused = dict.fromkeys(label for pair in lessons.confusions for label in pair[:2])
    rest = [row for row in pool if row not in rows]
    rng.shuffle(rest)
    rest.sort(key=lambda row: row.label not in confused)
    places = rng.sample(range(len(rows)), math.ceil(len(rows) / 3))
    for place, row in zip(places, rest, strict=False):
        rows[place] = row
    return rows


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


FIRST_BUILDERS: Sequence[tuple[str, Builder]] = (
    ("covering", _covering),
    ("proven", _proven),
    ("contrastive", _contrastive),
    ("covering", _covering),
    ("random", _random),
)
LATER_BUILDERS: Sequence[tuple[str, Builder]] = (("contrastive", _contrastive), ("varied", _varied))
