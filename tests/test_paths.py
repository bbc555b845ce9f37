"""Private files and folders in places that others can reach."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from mipro_walk.errors import PrerequisiteError
from mipro_walk.paths import Workdir, backend_key, home, open_log, private_key, read_private, write_private

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and owners are those of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_new_work_folder_is_private(tmp_path: Path) -> None:
    folder = Workdir.open(tmp_path / "deep" / "walk")
    assert mode(folder.path) == 0o700


def test_a_work_folder_that_others_can_write_to_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "walk"
    path.mkdir()
    path.chmod(0o777)
    assert mode(Workdir.open(path).path) == 0o700


def test_a_work_folder_that_is_a_link_is_refused_and_its_target_untouched(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    link = tmp_path / "walk"
    link.symlink_to(victim)
    with pytest.raises(PrerequisiteError, match="is a link") as caught:
        Workdir.open(link)
    assert "--workdir" in caught.value.fix
    assert mode(victim) == 0o755
    assert not list(victim.iterdir())


@pytest.mark.parametrize("make", ["file", "fifo", "dangling link"])
def test_a_work_folder_that_is_no_folder_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / "walk"
    if make == "file":
        path.write_text("x")
    elif make == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(PrerequisiteError):
        Workdir.open(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_work_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk"
    path.mkdir()
    os.chown(path, 12345, 12345)
    with pytest.raises(PrerequisiteError, match="another user"):
        Workdir.open(path)


def test_writing_replaces_a_planted_link_instead_of_following_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    target = tmp_path / "env_key.txt"
    target.symlink_to(victim)
    write_private(target, b"secret")
    assert victim.read_text() == "precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"secret"
    assert mode(target) == 0o600


def test_reading_a_planted_link_or_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("planted")
    (tmp_path / "link").symlink_to(tmp_path / "other.txt")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(PrerequisiteError):
            read_private(tmp_path / name)


def test_reading_repairs_a_key_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key.txt"
    path.write_text("k")
    path.chmod(0o644)
    assert read_private(path) == b"k"
    assert mode(path) == 0o600


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    (tmp_path / "task_app.log").symlink_to(victim)
    with pytest.raises(PrerequisiteError):
        open_log(tmp_path / "task_app.log")
    assert victim.read_text() == "precious"


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_private(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PrerequisiteError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_many_at_once_get_the_same_backend_key(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(backend_key(tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert mode(tmp_path / "backend_key.txt") == 0o600


def test_a_damaged_key_file_is_refused_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "backend_key.txt"
    path.write_text("short")
    with pytest.raises(PrerequisiteError, match="64 hexadecimal"):
        private_key(path)
    assert path.read_text() == "short"


def test_the_data_folder_follows_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "h"))
    assert home() == tmp_path / "h"
    assert mode(tmp_path / "h") == 0o700
