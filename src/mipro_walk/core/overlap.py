"""Rows that are the same or nearly the same, found without comparing every pair.

Two texts are near duplicates when their character shingles overlap by ``SIMILAR`` (Jaccard). Sets that similar must
share one of their rarest shingles, so only texts that meet in a short prefix of an inverted index are compared.

Source: prefix filtering, Bayardo, Ma & Srikant 2007, "Scaling up all pairs similarity search", WWW.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

SHINGLE = 5
"""Characters in a shingle: longer than most word endings, shorter than most words that carry meaning."""
SIMILAR = 0.8
"""Jaccard similarity from which two texts count as one; docs/results.md says what that finds in real data."""


def normal(text: str) -> str:
    """Return a text without case, punctuation and differences of spacing or Unicode form."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def near_duplicates(texts: Sequence[str], others: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yield ``(index in texts, index in others, similarity)`` of every pair at or above ``SIMILAR``.

    Texts that are equal after :func:`normal` have similarity 1, however short.
    """
    left, right = [_shingles(text) for text in texts], [_shingles(text) for text in others]
    rarity = Counter(shingle for sets in (left, right) for shingles in sets for shingle in shingles)
    index: dict[str, list[int]] = defaultdict(list)
    for number, shingles in enumerate(right):
        for shingle in _prefix(shingles, rarity):
            index[shingle].append(number)
    for number, shingles in enumerate(left):
        met = {other for shingle in _prefix(shingles, rarity) for other in index.get(shingle, ())}
        for other in sorted(met):
            similarity = len(shingles & right[other]) / len(shingles | right[other])
            if similarity >= SIMILAR:
                yield number, other, similarity


def _shingles(text: str) -> frozenset[str]:
    found = normal(text) or text.strip()  # rows of emoji or punctuation alone are not all the same
    return frozenset(found[i : i + SHINGLE] for i in range(max(1, len(found) - SHINGLE + 1)))


def _prefix(shingles: frozenset[str], rarity: Counter[str]) -> list[str]:
    ordered = sorted(shingles, key=lambda shingle: (rarity[shingle], shingle))
    return ordered[: len(shingles) - math.ceil(SIMILAR * len(shingles)) + 1]
