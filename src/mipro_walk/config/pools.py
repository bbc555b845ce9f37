"""Which rows each of the three pools means, and that no row serves two purposes."""

from __future__ import annotations

from typing import Any

from mipro_walk.config.draft import Draft
from mipro_walk.config.models import Pool, Pools
from mipro_walk.config.published import GEPA, MIPRO, ROOT
from mipro_walk.config.sections import Gepa, Mipro
from mipro_walk.counting import counted


def read_pools(draft: Draft, mipro: Mipro, gepa: Gepa, env_config: Any) -> Pools:
    """Return the three pools.

    With any ``*_split`` key each pool counts in a split of its own name unless told otherwise. Without, seeds mean
    what they mean to the published client: all count in one split, the app's default or ``env_config.split``.
    """
    val_key = "online_pool"
    if mipro.online_pool is None and mipro.val_seeds is not None:
        val_key = "val_seeds"
    elif mipro.val_seeds is not None:
        draft.ignored.append(draft.dotted((MIPRO, "val_seeds")))
    seeds = {
        "train": mipro.bootstrap_train_seeds,
        "val": getattr(mipro, val_key),
        "test": mipro.test_pool,
    }
    _fill_from_gepa(draft, gepa, seeds)
    splits = {"train": mipro.train_split, "val": mipro.val_split, "test": mipro.test_split}
    has_splits = any(splits.values())
    shared = env_config.get("split") if isinstance(env_config, dict) else None
    if shared is not None and (has_splits or not any(seeds.values())):
        draft.ignored.append(f"{ROOT}.env_config.split")
    pools = {
        name: Pool(shared if isinstance(shared, str) else None, seeds[name])
        if seeds[name] is not None and not has_splits
        else Pool(splits[name] or name, seeds[name])
        for name in seeds
    }
    keys = {"train": "bootstrap_train_seeds", "val": val_key, "test": "test_pool"}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        _check_disjoint(draft, (keys[one], pools[one]), (keys[other], pools[other]))
    return Pools(**pools)


def _fill_from_gepa(draft: Draft, gepa: Gepa, seeds: dict[str, tuple[int, ...] | None]) -> None:
    """Take missing pools from the published client's names for GEPA.

    That client gives one list for minibatches and for the Pareto set, and a second one that the search never sees.
    """
    if gepa.validation_seeds is not None:
        if seeds["test"] is None:
            seeds["test"] = gepa.validation_seeds
        else:
            draft.ignored.append(draft.dotted((GEPA, "validation_seeds")))
    if gepa.evaluation_seeds is None:
        return
    if seeds["train"] is not None or seeds["val"] is not None:
        draft.ignored.append(draft.dotted((GEPA, "evaluation_seeds")))
        return
    rows = len(gepa.evaluation_seeds)
    size = gepa.pareto_set_size or rows // 2
    if not 0 < size < rows:
        where = draft.dotted((GEPA, "pareto_set_size"))
        draft.problems.add(
            where,
            f"{where}{draft.problems.at(where)}: {size} val rows of {rows} evaluation seeds leave none of one kind; "
            f"choose 1 to {max(1, rows - 1)}, or name bootstrap_train_seeds and online_pool.",
        )
        return
    seeds["val"], seeds["train"] = gepa.evaluation_seeds[:size], gepa.evaluation_seeds[size:]


def _check_disjoint(draft: Draft, one: tuple[str, Pool], other: tuple[str, Pool]) -> None:
    (one_key, one_pool), (other_key, other_pool) = one, other
    if one_pool.split != other_pool.split:
        return
    where, first = draft.dotted((MIPRO, other_key)), draft.dotted((MIPRO, one_key))
    split = f"split {one_pool.split!r}" if one_pool.split else "the task app's default split"
    fix = "Give disjoint seeds, or a split to each pool (train_split, val_split, test_split)."
    if one_pool.seeds is None or other_pool.seeds is None:
        draft.problems.add(
            where, f"{first} and {other_key}{draft.problems.at(where)} both mean {split}, one of them all of it. {fix}"
        )
        return
    common = sorted(set(one_pool.seeds) & set(other_pool.seeds))
    if common:
        some = ", ".join(map(str, common[:5])) + (", …" if len(common) > 5 else "")
        draft.problems.add(
            where,
            f"{first} and {other_key}{draft.problems.at(where)} share {counted(len(common), 'row')} of {split}: "
            f"{some}. {fix}",
        )
