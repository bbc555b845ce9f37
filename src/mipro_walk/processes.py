"""Starting, finding and stopping the servers that belong to us: task app, backend, local model.

Every child runs under :mod:`mipro_walk.child_guard` and so ends with its parent, unless it was started detached.
It gets an allow-list of the environment: provider keys reach only whom they are handed to. A record of each child
lies in ``run/`` of the data folder; one is trusted only while pid, start time and command line still agree.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro_walk.errors import (
    ConfigError,
    IncompleteError,
    KeyMissingError,
    MiproWalkError,
    PrerequisiteError,
    UnreachableError,
)
from mipro_walk.paths import home, open_log, private_folder, read_private, write_private

if TYPE_CHECKING:  # heavy; most commands stop nothing
    import psutil

STOP_SECONDS = 7.0
POLL_SECONDS = 0.05
MAX_LOG_BYTES = 10_000_000
TAIL_LINES = 5
GUARD_MODULE = "mipro_walk.child_guard"

PROVIDER_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GROQ_API_KEY",
    "GROQ_BASE_URL",
    "MIPRO_WALK_API_KEY",
    "MIPRO_WALK_BASE_URL",
    "SYNTH_API_KEY",
)
"""What only the backend needs."""

_ALLOWED = frozenset(
    [
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OMP_NUM_THREADS"),
        *("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_OFFLINE", "HF_DATASETS_CACHE"),
        *("SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "PROGRAMDATA"),
    ]
)
_ALLOWED_PREFIXES = ("LC_", "PYTHON", "XDG_", "MIPRO_WALK_")
_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_ERRORS: dict[int, type[MiproWalkError]] = {
    kind.exit_code: kind
    for kind in (ConfigError, PrerequisiteError, KeyMissingError, UnreachableError, IncompleteError)
}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What is remembered of a child. ``create_time`` is in seconds since the epoch, as the system reports it."""

    name: str
    pid: int
    create_time: float
    url: str = ""
    instance_id: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who holds a port. Fields are empty when the system does not tell (another user's process)."""

    pid: int | None
    name: str
    command: str

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of another user"
        return f"{self.name} (pid {self.pid}: {self.command})"


class ManagedProcess:
    """A child of this process."""

    def __init__(self, record: ProcessRecord, process: subprocess.Popen[bytes], log_start: int) -> None:
        self.record = record
        self.url = record.url
        self._process = process
        self._log_start = log_start

    @property
    def name(self) -> str:
        """What the child is called in messages and records."""
        return self.record.name

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.record.pid

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return Path(self.record.log)

    @property
    def exit_code(self) -> int | None:
        """How it ended; ``None`` while it runs."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def last_lines(self, count: int = TAIL_LINES) -> list[str]:
        """Return the last lines that this child, not an earlier one, wrote to its log."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - 8192))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-count:]

    def set_url(self, url: str) -> None:
        """Remember where it answers."""
        self.url = url
        self.record = ProcessRecord(**{**asdict(self.record), "url": url})
        _write_record(self.record)

    def wait(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """End it: by its closed pipe and SIGTERM first, by force after seven seconds. Ended ones are left alone."""
        atexit.unregister(self.stop)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _record_path(self.record).unlink(missing_ok=True)

    def release(self) -> None:
        """Let a detached child go on after this process; nothing is stopped."""
        # Popen would warn about a child that is still running when it is collected.
        self._process.returncode = 0

    def failure(self) -> MiproWalkError:
        """Return the error that tells why it ended, in the class its exit code stands for."""
        code = self.exit_code
        lines = self.last_lines(3)
        why = " ".join(lines[-1:]) if code in _ERRORS else " / ".join(lines)
        state = "does not answer" if code is None else f"ended with exit code {code}"
        return _ERRORS.get(code or 0, UnreachableError)(
            f"The {self.name} {state}{': ' + why if why else '.'}", f"See {self.log_path}."
        )


def start_process(
    name: str,
    module: str,
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    log_path: Path,
    detached: bool = False,
    ready_seconds: float = 0.0,
    instance_id: str = "",
) -> ManagedProcess:
    """Start ``python -m module args`` as a guarded child.

    Args:
        env: what it gets beside the allow-list; the place for keys.
        log_path: gets its output; appended to, mode 0600.
        detached: let it outlive this process.
        ready_seconds: if positive, pass ``--ready-file`` and wait that long for the URL it writes there.

    Raises:
        MiproWalkError: it ended or did not get ready in time; the class follows its exit code.
    """
    ready_file = private_folder(home() / "run") / f".ready-{secrets.token_hex(8)}" if ready_seconds > 0 else None
    arguments = [*args, "--ready-file", str(ready_file)] if ready_file else list(args)
    process, log_start = _spawn(module, arguments, child_environment(os.environ, env), log_path, detached)
    record = ProcessRecord(name, process.pid, _create_time(process.pid), "", instance_id, str(log_path))
    _write_record(record)
    managed = ManagedProcess(record, process, log_start)
    if not detached:
        atexit.register(managed.stop)
    if ready_file is not None:
        _wait_until_ready(managed, ready_file, ready_seconds)
    return managed


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return what a child may see: harmless variables of ours, no key, and ``extra``."""
    allowed = {
        name: value
        for name, value in environ.items()
        if (name.upper() in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)) and not name.endswith(_SECRET_ENDINGS)
    }
    return {**allowed, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **extra}


def backend_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the backend gets beside the allow-list: provider keys, and installer settings for the weights."""
    return {
        name: value
        for name, value in environ.items()
        if name in PROVIDER_VARIABLES
        or _may_be_named(name)
        or name.startswith(("PIP_", "UV_"))
        or name == "MIPRO_WALK_LEDGER_URL"
    }


def _may_be_named(name: str) -> bool:
    """Whether a configuration may name this variable as ``api_key_env``. The task app's key is not the backend's."""
    return name.endswith("_API_KEY") and name != "ENVIRONMENT_API_KEY"


def records() -> list[ProcessRecord]:
    """Return our running children, also those of other sessions; records of ended ones are removed."""
    found: list[ProcessRecord] = []
    for path in sorted(private_folder(home() / "run").glob("*.json")):
        record = _read_record(path)
        if record is not None and is_same_process(record):
            found.append(record)
        else:
            path.unlink(missing_ok=True)
    return found


def is_same_process(record: ProcessRecord) -> bool:
    """Whether the process of a record still runs: a pid alone may have been given to somebody else."""
    import psutil

    try:
        process = psutil.Process(record.pid)
        return (
            abs(process.create_time() - record.create_time) < 2.0
            and process.status() != psutil.STATUS_ZOMBIE
            and GUARD_MODULE in process.cmdline()
        )
    except psutil.Error:
        return False


def stop_record(record: ProcessRecord) -> bool:
    """Stop a child of ours, of this or another session; return whether there was one.

    Raises:
        PrerequisiteError: it does not end even by force.
    """
    import psutil

    stopped = is_same_process(record)
    if stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(record.pid)
            process.terminate()
            if not _has_ended(process, STOP_SECONDS):
                process.kill()
                if not _has_ended(process, STOP_SECONDS):
                    raise PrerequisiteError(
                        f"The {record.name} (pid {record.pid}) does not end, not even by force.",
                        "The system holds it back, for example for a disk that does not answer; try again later.",
                    )
    _record_path(record).unlink(missing_ok=True)
    return stopped


def _has_ended(process: psutil.Process, seconds: float) -> bool:
    """Wait for the end of a process, at most so long; return whether it came.

    One that has ended stays in the process table until its parent looks. Where that is another session, we would wait
    in vain for it to vanish.
    """
    import psutil

    deadline = time.monotonic() + seconds
    while True:
        try:
            process.wait(POLL_SECONDS)
            return True
        except psutil.TimeoutExpired:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        if time.monotonic() >= deadline:
            return False


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # a port in TIME_WAIT is free, as it is for a server
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def who_listens(port: int) -> Listener | None:
    """Return who listens on a TCP port of this machine, as far as the system tells; ``None`` if it cannot say."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return _describe(connection.pid)
    return None


def listening_port(pid: int) -> int | None:
    """Return the port that one process listens on, once it does."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.Process(pid).net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return None


def _describe(pid: int | None) -> Listener:
    import psutil

    if pid is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            return Listener(pid, process.name(), " ".join(process.cmdline())[:60])
    return Listener(pid, "", "")


def _spawn(
    module: str, arguments: Sequence[str], environment: dict[str, str], log_path: Path, detached: bool
) -> tuple[subprocess.Popen[bytes], int]:
    guard = ["--detached"] if detached else []
    # -P: nothing in the current folder can pose as one of our modules.
    command = [sys.executable, "-P", "-m", GUARD_MODULE, *guard, module, *arguments]
    _rotate(log_path)
    log = open_log(log_path)
    try:
        log_start = os.fstat(log).st_size
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            **_own_group(),
        )
    except OSError as exc:
        raise PrerequisiteError(f"Cannot start {sys.executable}: {exc.strerror or exc}.", "Reinstall Python.") from exc
    finally:
        os.close(log)
    return process, log_start


def _own_group() -> dict[str, Any]:
    """Ctrl-C in the terminal reaches us only; we decide what it means for our children."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _wait_until_ready(process: ManagedProcess, ready_file: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and process.is_alive():
            if url := _read_text(ready_file):
                process.set_url(url)
                return
            time.sleep(POLL_SECONDS)
        failure = process.failure()
        process.stop()
        raise failure
    except BaseException:
        process.stop()
        raise
    finally:
        ready_file.unlink(missing_ok=True)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _rotate(log_path: Path) -> None:
    with contextlib.suppress(OSError):
        if log_path.lstat().st_size > MAX_LOG_BYTES:
            log_path.replace(log_path.with_name(log_path.name + ".1"))


def _create_time(pid: int) -> float:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _record_path(record: ProcessRecord) -> Path:
    return home() / "run" / f"{record.name}-{record.pid}.json"


def _write_record(record: ProcessRecord) -> None:
    private_folder(home() / "run")
    write_private(_record_path(record), json.dumps(asdict(record)).encode())


def _read_record(path: Path) -> ProcessRecord | None:
    try:
        values = json.loads(read_private(path) or b"null")
        return ProcessRecord(**values) if isinstance(values, dict) and isinstance(values.get("pid"), int) else None
    except (ValueError, TypeError, PrerequisiteError):
        return None


def install_termination_handlers() -> None:
    """Turn SIGTERM and SIGHUP into an orderly exit (128 + signal number), so that clean-up runs."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)
