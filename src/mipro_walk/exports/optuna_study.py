"""``optuna``: the search as an Optuna study in a journal file, which ``optuna.load_study`` and optuna-dashboard open.

A view to look at, not the sampler's own study: that one is built anew for each rung and lives in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_walk.errors import ConfigError
from mipro_walk.exports.source import Document, ExportSource

ATTRIBUTES = {
    "num_seeds": "n",
    "rung": "rung",
    "rollouts": "rollouts",
    "minibatch_score": "minibatch_score",
    "estimate_sd": "estimate_sd",
    "unknown": "unknown",
    "startup": "startup",
    "seeds": "seeds",
}


def optuna_study(source: ExportSource) -> str:
    """Return the journal. A trial's value is the pooled estimate after it; without one the trial has failed."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    history = source.history()
    if history.get("algorithm") == "gepa":
        raise ConfigError("A job of GEPA is no Optuna study: it has no axes.", "Use --format rollouts.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.log"
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(study_name=_name(source), storage=storage, direction="maximize")
            for name, value in _about(source, history).items():
                study.set_user_attr(name, value)
            study.add_trials([_trial(trial, history) for trial in history["iterations"]])
        finally:
            optuna.logging.set_verbosity(verbosity)
        return path.read_text(encoding="utf-8")


def _name(source: ExportSource) -> str:
    return str(source.documents.get("job_metadata.json", {}).get("job_id") or source.best["task"])


def _about(source: ExportSource, history: Document) -> dict[str, Any]:
    return {
        "task": source.best["task"],
        "split": "val",
        "split_hash": history["split_hash"],
        "baseline": history["baseline"],
        "test": history["test"],
        "stop_reason": history["stop_reason"],
        "instructions": history["instructions"],
        "demo_sets": history["demo_sets"],
    }


def _trial(trial: Mapping[str, Any], history: Document) -> Any:
    import optuna

    state = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=state.FAIL if trial["estimate"] is None else state.COMPLETE,
        value=trial["estimate"],
        params={name: trial[name] for name in ("instruction", "demo_set")},
        distributions={
            "instruction": optuna.distributions.CategoricalDistribution(range(len(history["instructions"]))),
            "demo_set": optuna.distributions.CategoricalDistribution(range(len(history["demo_sets"]))),
        },
        user_attrs={ours: trial.get(theirs) for theirs, ours in ATTRIBUTES.items()},
    )
