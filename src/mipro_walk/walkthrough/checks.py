"""What step 1 looks at. Nothing here takes long, changes anything or goes to the network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mipro_walk.errors import MiproWalkError, PrerequisiteError
from mipro_walk.paths import Workdir, home, models_folder
from mipro_walk.processes import is_port_free, records, who_listens
from mipro_walk.walkthrough.keys import mask
from mipro_walk.walkthrough.ui import Check, CheckStatus

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 500_000_000
LOCAL_MODEL = "SmolLM2-135M"
PACKAGES = ("typer", "rich", "httpx", "optuna", "fastapi", "uvicorn", "openai", "datasets", "SQLAlchemy", "PyNaCl")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks are about."""

    environ: Mapping[str, str]
    workdir: Path
    task_app_port: int
    backend_url: str | None = None
    model_path: Path | None = None
    encoding: str = "utf-8"

    @property
    def has_provider_key(self) -> bool:
        """Whether a hosted model can be used."""
        return bool(self.environ.get("OPENAI_API_KEY") or self.environ.get("GROQ_API_KEY"))


def check_machine(machine: Machine) -> list[Check]:
    """Run every check, in the order in which they are shown."""
    checks: tuple[Callable[[Machine], Check], ...] = (
        _python,
        _packages,
        _sqlite,
        _synth_key,
        lambda m: _provider_key(m, "OPENAI_API_KEY"),
        lambda m: _provider_key(m, "GROQ_API_KEY"),
        _local_model,
        _port,
        _work_folder,
        _data_folder,
        _disk,
        _encoding,
        _tunnel,
    )
    return [check(machine) for check in checks]


def require_no_failure(checks: list[Check]) -> None:
    """Raise PrerequisiteError if a check failed."""
    failed = [check for check in checks if check.status == "FAIL"]
    if failed:
        names = ", ".join(check.name for check in failed)
        raise PrerequisiteError(f"This machine is not ready: {names}.", failed[0].fix)


def _python(_machine: Machine) -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= MIN_PYTHON:
        return Check("Python", "OK", found)
    return Check("Python", "FAIL", f"{found} is too old", "Install Python 3.11 or newer.")


def _packages(_machine: Machine) -> Check:
    missing = [name for name in PACKAGES if not _version(name)]
    if missing:
        return Check("Packages", "FAIL", f"missing: {', '.join(missing)}", "Run `pip install mipro-walk` again.")
    return Check("Packages", "OK", f"optuna {_version('optuna')}, fastapi {_version('fastapi')}, all installed")


def _sqlite(_machine: Machine) -> Check:
    return Check("SQLite", "OK", f"{sqlite3.sqlite_version}, rollback journal (safe in every version)")


def _synth_key(machine: Machine) -> Check:
    key = machine.environ.get("SYNTH_API_KEY", "")
    if machine.backend_url is None:
        return Check("SYNTH_API_KEY", "OK", "not needed: the backend runs on this machine")
    if key:
        return Check("SYNTH_API_KEY", "OK", f"set: {mask(key)}")
    return Check("SYNTH_API_KEY", "FAIL", "not set", f"Set it to the key of {machine.backend_url}.")


def _provider_key(machine: Machine, variable: str) -> Check:
    key = machine.environ.get(variable, "")
    if key:
        return Check(variable, "OK", f"set: {mask(key)}")
    if machine.has_provider_key:
        return Check(variable, "OK", "not set, not needed")
    return Check(variable, "WARN", f"not set: the local model {LOCAL_MODEL} is used", f"Optional: export {variable}=…")


def _local_model(machine: Machine) -> Check:
    name = "Local model"
    if importlib.util.find_spec("xllamacpp") is None:
        status: CheckStatus = "WARN" if machine.has_provider_key else "FAIL"
        fix = "Set OPENAI_API_KEY or GROQ_API_KEY, or use a machine with a prebuilt xllamacpp (x86-64, ARM64)."
        return Check(name, status, "its engine xllamacpp is not installed", fix)
    from mipro_walk.local_model import weights

    try:
        if machine.model_path is not None:
            return Check(name, "OK", f"engine installed, {weights.custom(machine.model_path)}")
        found = weights.find(models_folder())
    except MiproWalkError as exc:
        return Check(name, "FAIL", exc.message, exc.fix)
    if found:
        return Check(name, "OK", f"engine and weights installed ({LOCAL_MODEL})")
    size = f"{weights.WEIGHTS.download_size / 1e6:.0f} MB"
    if machine.has_provider_key:
        return Check(name, "OK", f"engine installed; weights ({size}) are fetched if it is chosen")
    return Check(name, "OK", f"engine installed; weights will be fetched once: {size}")


def _port(machine: Machine) -> Check:
    port = machine.task_app_port
    name = f"Port {port}" if port else "Port"
    if port == 0 or is_port_free(port):
        return Check(name, "OK", "free" if port else "any free one is taken")
    holder = who_listens(port)
    if holder and any(record.pid == holder.pid for record in records()):
        return Check(name, "OK", f"our own task app runs there (pid {holder.pid})")
    return Check(name, "WARN", f"taken by {holder or 'another process'}", "Pass --task-app-port 0 for a free one.")


def _work_folder(machine: Machine) -> Check:
    return _folder("Work folder", lambda: Workdir.open(machine.workdir).path)


def _data_folder(_machine: Machine) -> Check:
    return _folder("Data folder", home)


def _folder(name: str, get: Callable[[], Path]) -> Check:
    try:
        path = get()
        with tempfile.TemporaryFile(dir=path):
            return Check(name, "OK", str(path))
    except PrerequisiteError as exc:
        return Check(name, "FAIL", exc.message, exc.fix)
    except OSError as exc:
        return Check(name, "FAIL", f"cannot write: {exc.strerror or exc}", "Free some space, or choose another folder.")


def _disk(_machine: Machine) -> Check:
    try:
        free = shutil.disk_usage(home()).free
    except (OSError, PrerequisiteError):
        return Check("Free disk", "WARN", "unknown", "Make sure that 500 MB are free.")
    if free < MIN_FREE_BYTES:
        return Check("Free disk", "FAIL", f"{free / 1e6:.0f} MB", "Free up to 500 MB on the disk of the data folder.")
    return Check("Free disk", "OK", f"{free / 1e9:.1f} GB")


def _encoding(machine: Machine) -> Check:
    if machine.encoding.lower().replace("-", "") == "utf8":
        return Check("Terminal", "OK", "UTF-8")
    detail = f"{machine.encoding}: foreign letters are shown as escapes"
    return Check("Terminal", "WARN", detail, "Set PYTHONUTF8=1, or a UTF-8 locale.")


def _tunnel(_machine: Machine) -> Check:
    if shutil.which("cloudflared"):
        return Check("cloudflared", "OK", "installed (optional, not used by the local backend)")
    return Check("cloudflared", "OK", "not installed; only needed to reach a hosted backend")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
