"""Who gets how many rows: rungs of fewer and fewer candidates, each with an equal share of the search.

Weak candidates stop after a few rows, close ones go on, and every rung but the last lets newcomers in beside those
that climb. All members of a rung are brought to the same rows.

Source: successive halving, Jamieson & Talwalkar 2016, arXiv:1502.07943; newcomers suggested by TPE as in BOHB, Falkner,
Klein & Hutter 2018, arXiv:1807.01774. Differs: survivors are chosen by pooled estimates, not by their own mean, and
newcomers join the race that is under way instead of opening one of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mipro_walk.core.pooling import Estimate
from mipro_walk.core.search_space import Key

HALVING = 2.0
NEWCOMER_SHARE = 0.5
ALONE_SHARE = 0.25
OPTIMISM = 1.0
"""Standard deviations added to an estimate before survivors are chosen: what is less known gets its chance."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One round of the race.

    Attributes:
        number: 0-based.
        members: candidates in it.
        newcomers: how many of them have no rows yet.
        spent_after: rollouts of all rungs up to and with this one.
    """

    number: int
    members: int
    newcomers: int
    spent_after: int


def make_rungs(trials: int, last: int, rollouts: int, first_rows: int = 0) -> tuple[Rung, ...]:
    """Divide ``trials`` and ``rollouts`` over rungs that end with ``last`` candidates.

    ``first_rows`` fixes the rows of the first rung; 0 gives it an equal share.
    """
    sizes = _sizes(trials, min(last, trials))
    first = first_rows * sizes[0] if first_rows else rollouts // len(sizes)
    rungs = []
    for number, members in enumerate(sizes):
        is_last = number == len(sizes) - 1
        newcomers = members if number == 0 else 0 if is_last else math.ceil(members * NEWCOMER_SHARE)
        later = (rollouts - first) * number // max(1, len(sizes) - 1)
        spent = rollouts if is_last else first + later
        rungs.append(Rung(number, members, newcomers, spent))
    return tuple(rungs)


def survivors(estimates: Mapping[Key, Estimate], count: int) -> list[Key]:
    """Return ``count`` candidates, most promising first; ties go to the lower key.

    A quarter of the places goes to the best scores alone: pooling expects a candidate to be about what its parts are,
    and would let a rare one that is far better than them go unnoticed.
    """

    def promise(key: Key) -> tuple[float, Key]:
        return (-(estimates[key].mean + OPTIMISM * estimates[key].sd), key)

    def alone(key: Key) -> tuple[float, Key]:
        return (-estimates[key].alone, key)

    ranked = sorted(estimates, key=promise)
    best = ranked[: count - int(count * ALONE_SHARE)]
    outsiders = sorted(ranked[len(best) :], key=alone)[: count - len(best)]
    return [*best, *outsiders]


def share_rows(have: Sequence[int], rollouts: int, rows: int) -> list[int]:
    """Return the rows each member is brought to when the lowest are filled up first.

    ``have`` is in order of promise: rows that do not go round go to the first. ``rows`` is the most there are.
    """
    goals = list(have)
    left = rollouts
    while left > 0 and (level := min(goals, default=rows)) < rows:
        for member, goal in enumerate(goals):
            if goal == level and left > 0:
                goals[member] += 1
                left -= 1
    return goals


def _sizes(trials: int, last: int) -> list[int]:
    """Return rung sizes, halved down to ``last``, that sum to ``trials``; what is over joins the first rung."""
    sizes = [trials]
    for first in range(last, trials + 1):
        halved = _halved(first, last)
        if sum(halved) > trials:
            break
        sizes = halved
    sizes[0] += trials - sum(sizes)
    return sizes


def _halved(first: int, last: int) -> list[int]:
    sizes = [first]
    while sizes[-1] > last:
        sizes.append(max(last, math.ceil(sizes[-1] / HALVING)))
    return sizes
