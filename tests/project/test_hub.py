"""Hub data sets, with a stub in place of the hub."""

from __future__ import annotations

from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest

from mipro_walk.errors import ConfigError, UnreachableError
from mipro_walk.project.hub import read_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A hub with one data set; returns what was asked of it."""
    made: list[tuple[object, ...]] = []
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = datasets.Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]}, features=features)

    def load(name: str, config: str | None = None, *, revision: str) -> object:
        made.append((name, config, revision))
        return datasets.DatasetDict({"train": rows, "test": rows.select([0])})

    def info(_self: object, _name: str, revision: str | None = None) -> object:
        return SimpleNamespace(sha=revision or COMMIT)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    return made


def test_the_newest_commit_is_pinned_and_class_numbers_become_names(calls) -> None:
    table = read_hub("owner/reviews")
    assert [dict(row.cells) for row in table.rows] == [
        {"text": "good", "label": "pos"},
        {"text": "bad", "label": "neg"},
    ]
    assert table.revision == COMMIT
    assert calls == [("owner/reviews", None, COMMIT)]


def test_revision_configuration_and_split_are_passed_on(calls) -> None:
    table = read_hub("owner/reviews", revision="abc", config="plain", split="test")
    assert len(table.rows) == 1
    assert calls == [("owner/reviews", "plain", "abc")]


def test_an_unknown_split_names_those_there_are(calls) -> None:
    with pytest.raises(ConfigError, match=r"has no split 'tset'\. Did you mean 'test'\?"):
        read_hub("owner/reviews", split="tset")


@pytest.mark.parametrize("name", ["a/b/c", "/reviews", "owner/", ""])
def test_what_is_no_name_of_a_data_set_is_refused_without_asking(calls, name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a hub data set"):
        read_hub(name)
    assert not calls


@pytest.mark.parametrize("where", ["info", "data"])
def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(
    calls, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    if where == "info":
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", offline)
    else:
        monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UnreachableError) as caught:
        read_hub("owner/reviews")
    assert caught.value.message == "The hub data set owner/reviews could not be loaded (ConnectionError)."
    assert "give its path" in caught.value.fix
