"""TF-IDF and logistic regression on Banking77: what a classifier of the usual kind makes of the same rows.

    pip install scikit-learn
    python benchmarks/tfidf.py --data PATH

Context for ``banking77.py``, not a competitor: it learns from all the rows it is given, a prompt shows a few of them.
Words and pairs of words, sublinear term frequency, L2 penalty with C = 10, everything else as scikit-learn has it.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from banking77 import RunKey, configuration, over_runs, wilson

from mipro_walk.backend.in_process import load_data
from mipro_walk.config import Pool
from task_apps.banking77.data import Row, TaskData

try:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
except ImportError:
    raise SystemExit("This benchmark needs scikit-learn: pip install scikit-learn") from None

RNG_SEEDS = range(5)
ROWS_PER_LABEL = 10

Draw = Callable[[Sequence[Row], int], list[Row]]


@dataclass(frozen=True)
class Lesson:
    """One line of the table: rows to learn from, rows to be tested on, and how often the former are drawn."""

    name: str
    train: Sequence[Row]
    test: Sequence[Row]
    draw: Draw | None = None


def lessons(data: TaskData) -> list[Lesson]:
    """Return the full test set with few and with all train rows, then the slices as ``banking77.py`` uses them."""
    everything = data.slice()
    train = (*everything.pool("train").rows, *everything.pool("val").rows)
    test = everything.pool("test").rows
    full = [
        Lesson(f"77 intents, {ROWS_PER_LABEL} rows of each, full test set", train, test, some_of_each_label),
        Lesson("77 intents, all train rows, full test set", train, test),
    ]
    return full + [_slice_lesson(data, num_intents) for num_intents in (10, 77)]


def _slice_lesson(data: TaskData, num_intents: int) -> Lesson:
    pools = configuration(RunKey(num_intents, 0, "baseline")).pools
    train, val, test = (_rows(data, num_intents, pool) for pool in (pools.train, pools.val, pools.test))
    return Lesson(f"{num_intents} intents, the train and val rows of our runs, their test rows", (*train, *val), test)


def _rows(data: TaskData, num_intents: int, pool: Pool) -> list[Row]:
    assert pool.split is not None
    assert pool.seeds is not None
    rows = data.slice(num_intents).pool(pool.split).rows
    return [rows[seed] for seed in pool.seeds]


def some_of_each_label(rows: Sequence[Row], rng_seed: int) -> list[Row]:
    """Draw the same number of rows of every label."""
    rng = random.Random(rng_seed)
    labels = sorted({row.label for row in rows})
    return [row for label in labels for row in rng.sample([r for r in rows if r.label == label], ROWS_PER_LABEL)]


def right_answers(train: Sequence[Row], test: Sequence[Row]) -> list[float]:
    """Return the score of each test row after learning from ``train``."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    model.fit([row.text for row in train], [row.label for row in train])
    answers = model.predict([row.text for row in test])
    return [float(answer == row.label) for answer, row in zip(answers, test, strict=True)]


def line(lesson: Lesson) -> str:
    """Return one line of the table."""
    draws = [lesson.draw(lesson.train, seed) for seed in RNG_SEEDS] if lesson.draw else [lesson.train]
    answers = [right_answers(draw, lesson.test) for draw in draws]
    accuracy = over_runs(answers) if len(draws) > 1 else wilson(answers[0])
    drawn = f"{len(draws[0])}, drawn {len(draws)} times" if lesson.draw else len(draws[0])
    return f"| {lesson.name} | {drawn} | {len(lesson.test)} | {accuracy.text()} |"


def main() -> None:
    """Read the options, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="PATH|sample|hub")
    data = load_data(parser.parse_args().data)
    print("| rows | to learn from | test rows | test accuracy, % |\n| --- | --- | --- | --- |")
    for lesson in lessons(data):
        print(line(lesson), flush=True)


if __name__ == "__main__":
    main()
