"""Where things are kept: the data folder, the work folder, and how private files are written.

The work folder may lie in a shared temp folder, so nothing there is trusted: a folder or file that is a link, belongs
to somebody else or could be changed by others is refused or repaired, never followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mipro_walk.errors import PrerequisiteError

HOME_VARIABLE = "MIPRO_WALK_HOME"
NO_USER_CONFIG_VARIABLE = "MIPRO_WALK_NO_USER_CONFIG"
USER_CONFIG_NAME = "mipro_walk.toml"
WORKDIR_NAME = "mipro_walkthrough"
GEPA_WORKDIR_NAME = "gepa_walkthrough"
MAX_PRIVATE_BYTES = 1_000_000
_KEY = re.compile(r"[0-9a-f]{64}")
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for its other end


def home() -> Path:
    """Return the data folder (ledger, keys, model weights), made with mode 0700.

    Raises:
        PrerequisiteError: it cannot be made or written to.
    """
    folder = os.environ.get(HOME_VARIABLE)
    if not folder:
        import platformdirs

        folder = platformdirs.user_data_dir("mipro-walk", appauthor=False)
    path = Path(folder).expanduser().absolute()
    _make_private(path, f"Set {HOME_VARIABLE} to a folder you can write to.")
    return path


def data_folder(environ: Mapping[str, str], *, only_named: bool = False) -> Path | None:
    """Return where :func:`home` would be, without making it; ``None`` if ``only_named`` and no variable names it."""
    folder = environ.get(HOME_VARIABLE)
    if not folder:
        if only_named:
            return None
        import platformdirs

        folder = platformdirs.user_data_dir("mipro-walk", appauthor=False)
    return Path(folder).expanduser().absolute()


def user_config_file(environ: Mapping[str, str], *, only_named: bool = False) -> Path | None:
    """Return where the user's own configuration is looked for; ``None`` if it is not wanted.

    It lies in ``MIPRO_WALK_HOME`` if that is set, else in the platform's folder for configuration.
    """
    if environ.get(NO_USER_CONFIG_VARIABLE, "").strip().lower() not in ("", "0", "false", "no"):
        return None
    if environ.get(HOME_VARIABLE) or only_named:
        folder = data_folder(environ, only_named=only_named)
        return None if folder is None else folder / USER_CONFIG_NAME
    import platformdirs

    return Path(platformdirs.user_config_dir("mipro-walk", appauthor=False)) / USER_CONFIG_NAME


def private_folder(path: Path) -> Path:
    """Make a folder below :func:`home` with mode 0700 and return it."""
    _make_private(path, f"Set {HOME_VARIABLE} to a folder you can write to.")
    return path


def models_folder() -> Path:
    """Return where model weights are kept."""
    return private_folder(home() / "models")


def backend_key(folder: Path) -> str:
    """Return the local backend's key; see :func:`private_key`."""
    return private_key(folder / "backend_key.txt")


def private_key(path: Path) -> str:
    """Return the key in a file, minted by whoever comes first (64 hex characters, mode 0600).

    Raises:
        PrerequisiteError: the key file is damaged or cannot be written.
    """
    found = read_private(path)
    if found is None:
        found = _write_first(path, secrets.token_hex(32).encode() + b"\n")
    key = found.decode("ascii", "replace").strip()
    if not _KEY.fullmatch(key):
        raise PrerequisiteError(
            f"{path} does not hold a key of 64 hexadecimal characters.",
            "Delete that file; a new key is then made.",
        )
    return key


@dataclass(frozen=True, slots=True)
class Workdir:
    """The work folder of one walkthrough; :meth:`open` is the way to get one."""

    path: Path

    @classmethod
    def open(cls, path: Path | None = None) -> Workdir:
        """Return the work folder, made with mode 0700 or checked and, if need be, repaired.

        Raises:
            PrerequisiteError: it is a link, not a folder, somebody else's, or cannot be written.
        """
        chosen = (path or cls.default_path()).expanduser().absolute()
        _make_private(chosen, "Choose another work folder with --workdir.")
        return cls(chosen)

    @staticmethod
    def default_path(algorithm: str = "mipro") -> Path:
        """Return ``mipro_walkthrough`` in the system's temp folder, for GEPA ``gepa_walkthrough`` beside it."""
        return Path(tempfile.gettempdir()) / (GEPA_WORKDIR_NAME if algorithm == "gepa" else WORKDIR_NAME)

    @property
    def env_key(self) -> Path:
        """The task app's key."""
        return self.path / "env_key.txt"

    @property
    def config(self) -> Path:
        """The generated configuration."""
        return self.path / "mipro_config.toml"

    @property
    def task_app_log(self) -> Path:
        """What the task app printed."""
        return self.path / "task_app.log"

    @property
    def results(self) -> Path:
        """The result files."""
        return self.path / "results"

    @property
    def state(self) -> Path:
        """Which steps are done."""
        return self.path / "state.json"


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` with mode 0600: whole or not at all, following no link.

    Raises:
        PrerequisiteError: the folder cannot be written, or the disk is full.
    """
    fix = "Free some space or make the folder writable, or choose another one with --workdir."
    with _written_beside(path, data, fix, f" ({len(data)} bytes)") as temporary:
        os.replace(temporary, path)


def create_private(path: Path, data: bytes) -> None:
    """Write ``data`` to a new file with mode 0600: whole or not at all.

    Raises:
        FileExistsError: there is something of that name, be it a link to nothing.
        PrerequisiteError: the folder cannot be written, or the disk is full.
    """
    fix = "Free some space or make the folder writable, or choose another path."
    with _written_beside(path, data, fix, f" ({len(data)} bytes)") as temporary:
        os.link(temporary, path)


def read_private(path: Path) -> bytes | None:
    """Return a file's bytes, or ``None`` if there is none. Wider modes than 0600 are repaired.

    Raises:
        PrerequisiteError: it is a link or no regular file, somebody else's, or larger than 1 MB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _suspicious(path, exc.strerror or str(exc)) from exc
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        _require_own_file(path, found)
        if os.name == "posix" and found.st_mode & 0o077:
            os.fchmod(file.fileno(), 0o600)
        data = file.read(MAX_PRIVATE_BYTES + 1)
    if len(data) > MAX_PRIVATE_BYTES:
        raise _suspicious(path, "it is larger than 1 MB")
    return data


def is_own_file(path: Path) -> bool:
    """Whether ``path`` is, or links to, a regular file that belongs to this user and that nobody else may change."""
    try:
        found = path.stat()
    except OSError:
        return False
    is_mine = os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
    return stat.S_ISREG(found.st_mode) and is_mine


def open_log(path: Path) -> int:
    """Open a log file for appending (mode 0600, no link followed) and return its descriptor; the caller closes it.

    Raises:
        PrerequisiteError: it cannot be opened, or is no regular file of ours.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NOFOLLOW | _NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as exc:
        raise _suspicious(path, exc.strerror or str(exc)) from exc
    try:
        _require_own_file(path, os.fstat(descriptor))
        if _NONBLOCK:
            os.set_blocking(descriptor, True)
    except PrerequisiteError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes, fix: str, size: str = "") -> Iterator[Path]:
    """Write ``data`` under another name of mode 0600 and give that: inside, it gets its own name at once or never."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except FileExistsError:
        raise
    except OSError as exc:
        raise PrerequisiteError(f"Cannot write {path}: {exc.strerror or exc}{size}.", fix) from exc
    finally:
        temporary.unlink(missing_ok=True)


def _write_first(path: Path, data: bytes) -> bytes:
    """Write ``data`` unless somebody was faster; return what the file holds now. No reader sees half of it."""
    private_folder(path.parent)
    with (
        contextlib.suppress(FileExistsError),
        _written_beside(path, data, f"Set {HOME_VARIABLE} to another folder.") as temporary,
    ):
        os.link(temporary, path)
    return read_private(path) or b""


def _make_private(path: Path, fix: str) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(path)
    except FileExistsError as exc:
        raise PrerequisiteError(f"{path} is not a folder.", fix) from exc
    except OSError as exc:
        raise PrerequisiteError(f"Cannot use the folder {path}: {exc.strerror or exc}.", fix) from exc
    if not stat.S_ISDIR(found.st_mode):
        raise PrerequisiteError(f"{path} is a link, not a folder.", fix)
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise PrerequisiteError(f"{path} belongs to another user.", fix)
    if found.st_mode & 0o022:
        os.chmod(path, 0o700)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PrerequisiteError(f"The folder {path} cannot be written to.", fix)


def _require_own_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _suspicious(path, "it is not a regular file")
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise _suspicious(path, "it belongs to another user")


def _suspicious(path: Path, why: str) -> PrerequisiteError:
    return PrerequisiteError(f"{path} cannot be used: {why}.", "Move it away, or choose another --workdir.")
