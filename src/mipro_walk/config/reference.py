"""Makes the tables of ``docs/configuration.md`` and the files of ``configs/`` from the models of ``sections.py``.

Run ``python -m mipro_walk.config.reference PROJECT_FOLDER`` after a change; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from mipro_walk.config.problems import allowed
from mipro_walk.config.profiles import PROFILES
from mipro_walk.config.published import IGNORED, IGNORED_PREFIXES, ROOT, ROUTES
from mipro_walk.config.sections import FREE_KEYS, SECTIONS
from mipro_walk.config.writing import render_config

BEGIN = "<!-- made by python -m mipro_walk.config.reference; change src/mipro_walk/config/sections.py instead -->"
END = "<!-- end of the made part -->"


def reference_tables() -> str:
    """Return one Markdown table for each section, and the lists of other accepted names."""
    parts = [_section_table(name) for name in SECTIONS]
    parts.insert(3, _free_table())
    return "\n".join([*parts, _other_names(), _ignored_names()])


def _section_table(name: str) -> str:
    rows = [f"### `[{name}]`\n", "| Key | Default | Accepts | Meaning |", "| --- | --- | --- | --- |"]
    for key, info in SECTIONS[name].model_fields.items():
        rows.append(f"| `{key}` | {_default(info)} | {allowed(info)} | {info.description} |")
    return "\n".join(rows) + "\n"


def _free_table() -> str:
    rows = [f"### `[{ROOT}.env_config]`\n", "| Key | Meaning |", "| --- | --- |"]
    rows += [f"| `{key}` | {text} |" for key, text in FREE_KEYS.items()]
    return "\n".join(rows) + "\n"


def _default(info: FieldInfo) -> str:
    extra: Any = info.json_schema_extra
    if info.default is None:
        return str(extra["default"]) if isinstance(extra, dict) else "none"
    value = info.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _other_names() -> str:
    rows = ["### Other places and names\n", "| Written as | Means |", "| --- | --- |"]
    for table, routes in ROUTES.items():
        for key, (home, name) in routes.items():
            if (table, key) != (home, name) and name != "task_app_api_key":
                written = f"`{key}` in `[{table}]`" if table else f"`{key}` at the top of the file"
                rows.append(f"| {written} | `{name}` in `[{home}]` |")
    return "\n".join(rows) + "\n"


def _ignored_names() -> str:
    rows = ["### Accepted, not used here\n"]
    for table, keys in IGNORED.items():
        names = [f"`{key}`" for key in sorted(keys)]
        names += [f"`{prefix}…`" for home, prefix in IGNORED_PREFIXES.items() if home == table]
        rows.append(f"- {f'`[{table}]`' if table else 'top of the file'}: {', '.join(names)}")
    return "\n".join(rows) + "\n"


def with_reference(page: str) -> str:
    """Return the page with its made part made again."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{reference_tables()}\n{END}{rest.partition(END)[2]}"


def profile_files() -> dict[str, str]:
    """Return the text of every file in ``configs/`` by its name."""
    return {
        f"{name}.toml": render_config(profile.document, title=f"Profile {name}. {profile.description}")
        for name, profile in PROFILES.items()
    }


def main(project: Path) -> None:
    """Write the made part of the page and the files of ``configs/``."""
    page = project / "docs" / "configuration.md"
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, text in profile_files().items():
        (project / "configs" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
