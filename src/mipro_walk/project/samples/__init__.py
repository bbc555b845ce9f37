"""One sample project for each kind of task, about 100 rows each, written by hand for this project."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mipro_walk.errors import ConfigError
from mipro_walk.project.sections import KINDS

README = """# {name}: a sample of kind {kind}

Everything here is yours to edit: `task.toml` says what the task is, `data.csv` holds its rows, `mipro_config.toml`
says how it is optimized.

```bash
mipro-walk optimize {folder}                  # search and test in this process; no server
mipro-walk task-app serve {folder}            # the same task over HTTP, at http://127.0.0.1:8002
mipro-walk train {folder}/mipro_config.toml   # a job of the backend, against that task app
```
"""


def copy_sample(kind: str, folder: Path, name: str | None = None) -> list[Path]:
    """Copy the sample project of a kind into ``folder``, which must be new or empty; return the files written.

    ``name`` is what the README calls it, by default the folder's.

    Raises:
        ConfigError: an unknown kind, or a folder with something in it.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no sample of kind {kind!r}.", f"Use one of: {', '.join(KINDS)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{str(folder)!r} is not an empty folder.", "Name a new one.")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(files(__name__).joinpath(kind).iterdir(), key=lambda entry: entry.name):
        target = folder / source.name
        target.write_bytes(source.read_bytes())
        written.append(target)
    readme = folder / "README.md"
    readme.write_text(README.format(name=name or folder.name, kind=kind, folder=name or folder.name), encoding="utf-8")
    return [*written, readme]
