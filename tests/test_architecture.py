"""The arrows of docs/architecture.md: who may import whom, what the core may touch, what starts fast."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mipro_walk

PROJECT = Path(__file__).parent.parent
OURS = "mipro_walk"
LEAVES = ("types", "errors", "version", "plain_text", "counting", "loopback")
OPTUNA_USERS = {f"{OURS}.core.sampler", f"{OURS}.core.importance"}
OPTUNA_VIEW = f"{OURS}.exports.optuna_study"
"""Writes a study for others to look at; decides nothing."""
GEPA_USER = f"{OURS}.core.gepa_search.engine"
IN_PROCESS = {f"{OURS}.cli.{name}_command" for name in ("optimize", "compare", "eval", "models")}
"""Commands that ask models without servers, so they put the backend's parts together themselves."""
SERVING = {f"{OURS}.project.app", f"{OURS}.project.serving"}
"""Puts a project behind the HTTP layer that all task apps share."""
SLOW = ("optuna", "openai", "fastapi", "datasets", "sqlalchemy", "pydantic", "numpy", "jinja2", "vl_convert")
WORLDLY = ("asyncio", "datetime", "http", "io", "logging", "os", "pathlib", "shutil", "socket", "sqlite3")
WORLDLY += ("subprocess", "tempfile", "threading", "time", "urllib")
"""Standard modules with a clock, a file, a network or a thread in them."""
CODE_LOADERS = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")


@dataclass(frozen=True)
class Import:
    """One imported name. ``target`` is the module that it comes from, ``name`` is empty for ``import module``."""

    target: str
    name: str
    line: int

    @property
    def path(self) -> str:
        return f"{self.target}.{self.name}" if self.name else self.target


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(found for node in ast.walk(self.tree) for found in self._imports(node))

    @property
    def part(self) -> str:
        """The top-level package or module that it belongs to: ``core`` for ``mipro_walk.core.plan``."""
        return part_of(self.name)

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield each call with what is called, as written: ``open``, ``yaml.load``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node

    def _imports(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            target = ".".join(filter(None, (above, node.module)))
            yield from (Import(target, alias.name, node.lineno) for alias in node.names)


def part_of(path: str) -> str:
    return ".".join(path.split(".")[1:2]) if path.startswith(f"{OURS}.") else path.split(".")[0]


def read_modules(root: Path, package: str) -> list[Module]:
    files = sorted((root / package).rglob("*.py"))
    return [Module(".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), f) for f in files]


PRODUCT = read_modules(PROJECT / "src", OURS)
TASK_APPS = read_modules(PROJECT, "task_apps")
EVERYTHING = [*PRODUCT, *TASK_APPS]
CORE = [module for module in PRODUCT if module.part == "core"]


def project_imports(module: Module) -> list[Import]:
    """Return what a module imports of mipro_walk."""
    return [found for found in module.imports if found.path.split(".")[0] == OURS]


def importers_of(part: str) -> set[str]:
    """Return the modules outside ``part`` that import it."""
    users = (m for m in PRODUCT if any(part_of(i.path) == part for i in project_imports(m)))
    return {module.name for module in users if module.part != part}


def outside(modules: list[Module], allowed: tuple[str, ...]) -> list[str]:
    """Return the imports of mipro_walk's other parts that are not ``allowed``, as ``file:line target``."""
    return [
        f"{module.name}:{found.line} {found.path}"
        for module in modules
        for found in project_imports(module)
        if part_of(found.path) not in (module.part, *allowed)
    ]


def parts(*names: str) -> list[Module]:
    found = [module for module in PRODUCT if module.part in names]
    assert {module.part for module in found} == set(names)
    return found


# ---- arrows


def test_leaves_import_nothing_of_the_project():
    assert not [f"{m.name}:{i.line}" for m in parts(*LEAVES) for i in project_imports(m)]


def test_the_core_imports_only_itself_types_errors_and_a_word():
    assert not outside(CORE, ("types", "errors", "counting"))


def test_the_core_needs_no_package_but_numpy_beside_optuna_gepa_and_its_blas_limit():
    for module in CORE:
        allowed = {*sys.stdlib_module_names, OURS, "numpy"} - set(WORLDLY)
        allowed |= {"optuna"} if module.name in OPTUNA_USERS else set()
        allowed |= {"gepa"} if module.name == GEPA_USER else set()
        allowed |= {"threadpoolctl"} if module.name == f"{OURS}.core.pooling" else set()
        strangers = [f"{module.name}:{i.line} {i.path}" for i in module.imports if i.path.split(".")[0] not in allowed]
        assert not strangers


def test_the_core_opens_prints_and_asks_nothing():
    calls = [(module.name, name) for module in CORE for name, _ in module.calls()]
    assert not [call for call in calls if call[1] in ("open", "print", "input", "breakpoint", "__import__")]


def test_optuna_is_imported_only_where_candidates_are_chosen_and_axes_are_weighed():
    users = {m.name for m in EVERYTHING if any(i.path.split(".")[0] == "optuna" for i in m.imports)}
    assert users == {*OPTUNA_USERS, OPTUNA_VIEW}


def test_gepa_is_imported_by_its_engine_alone_and_that_only_when_it_runs():
    users = {m.name for m in EVERYTHING if any(i.path.split(".")[0] == "gepa" for i in m.imports)}
    assert users == {GEPA_USER}
    engine_users = [m for m in PRODUCT if any(i.path.startswith(GEPA_USER) for i in project_imports(m))]
    assert engine_users
    for module in engine_users:
        at_the_top = [node for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not [node.lineno for node in at_the_top if "gepa_search.engine" in ast.unparse(node)]


def test_task_apps_import_nothing_of_the_project():
    assert not [f"{m.name}:{i.line}" for m in TASK_APPS for i in project_imports(m)]


def test_only_what_runs_a_job_in_process_or_serves_a_project_imports_task_apps():
    users = {m.name for m in PRODUCT if any(i.path.split(".")[0] == "task_apps" for i in m.imports)}
    assert users <= {f"{OURS}.backend.in_process", f"{OURS}.backend.comparison", *IN_PROCESS, *SERVING}
    served = [i.path for m in PRODUCT if m.name in SERVING for i in m.imports if i.path.startswith("task_apps.")]
    assert all(path.startswith("task_apps.serving.") for path in served)


def test_projects_know_neither_a_backend_nor_the_command_line():
    assert not outside(parts("project"), ("config", "core", *LEAVES))


def test_only_the_entry_point_imports_the_command_line():
    assert importers_of("cli") <= {f"{OURS}.__main__"}


def test_only_commands_without_servers_import_the_backend():
    assert importers_of("backend") <= IN_PROCESS


def test_those_commands_load_the_backend_only_when_they_are_called():
    modules = [module for module in PRODUCT if module.name in IN_PROCESS]
    assert len(modules) == len(IN_PROCESS)
    at_the_top = [n for m in modules for n in m.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [node.lineno for node in at_the_top if "backend" in ast.unparse(node)]


def test_a_comparison_runs_nothing_and_reaches_nobody():
    assert not outside(parts("comparison"), ("core", "paths", "prompting", "report", "results", *LEAVES))


def test_execution_knows_neither_a_backend_nor_a_way_to_reach_one():
    assert not outside(parts("execution"), ("config", "core", "forecast", "ledger", "prompting", "results", *LEAVES))


def test_the_ledger_and_the_results_know_only_the_core_and_files():
    assert not outside(parts("ledger", "results"), ("core", "paths", "prompting", *LEAVES))


def test_the_report_knows_only_the_result_documents():
    assert not outside(parts("report"), ("results", "paths", *LEAVES))


def test_exports_are_views_over_documents_and_the_ledger():
    allowed = ("clients", "ledger", "prompting", "request_template", "results", *LEAVES)
    assert not outside(parts("exports"), allowed)
    foreign = {i.path for m in parts("exports") for i in project_imports(m) if part_of(i.path) == "clients"}
    assert foreign <= {f"{OURS}.clients.replies.without_surrogates"}
    assert importers_of("exports") <= {f"{OURS}.cli.export_command"}


def test_clients_know_no_one_who_uses_them():
    assert not outside(parts("clients"), LEAVES)


def test_the_walkthrough_reaches_servers_only_over_http():
    forbidden = {"backend", "cli", "execution", "ledger", "library"}
    imports = ((m, i) for m in parts("walkthrough") for i in project_imports(m))
    assert not [f"{m.name}:{i.line} {i.path}" for m, i in imports if part_of(i.path) in forbidden]


def test_the_library_needs_no_server():
    allowed = ("core", "ledger", "local_model", "paths", "progress", "project", "prompting", "results", *LEAVES)
    assert not outside(parts("library"), allowed)
    imports = [(m.name, part_of(i.path)) for m in parts("library") for i in project_imports(m)]
    assert {name for name, part in imports if part in ("local_model", "paths")} == {f"{OURS}.library.models"}
    assert {name for name, part in imports if part == "ledger"} == {f"{OURS}.library.recording"}
    assert {name for name, part in imports if part == "project"} == {f"{OURS}.library.projects"}


def test_no_circle_between_packages():
    arrows: dict[str, set[str]] = {}
    for module in PRODUCT:
        if module.name != OURS:  # the front door loads its names late and is imported for the version at most
            used = {part_of(found.path) for found in project_imports(module)}
            arrows.setdefault(module.part, set()).update(used - {module.part})
    TopologicalSorter(arrows).prepare()  # raises CycleError with the circle in it


def test_nobody_imports_through_the_front_door():
    assert not [f"{m.name}:{i.line}" for m in PRODUCT for i in project_imports(m) if i.path == OURS]


def test_no_private_name_crosses_a_package():
    def is_private(path: str) -> bool:
        return any(word.startswith("_") and not word.endswith("__") for word in path.split("."))

    for module in EVERYTHING:
        package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
        foreign = [i for i in module.imports if i.target != package and not i.target.startswith(f"{package}.")]
        ours = [i for i in foreign if i.target.split(".")[0] in (OURS, "task_apps")]
        assert not [f"{module.name}:{i.line} {i.path}" for i in ours if is_private(i.path)]
        names = {i.name for i in ours}
        reached = (n for n in ast.walk(module.tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name))
        assert not [
            f"{module.name}:{n.lineno} {ast.unparse(n)}" for n in reached if n.value.id in names and is_private(n.attr)
        ]


# ---- what nobody does


@pytest.mark.parametrize("module", EVERYTHING, ids=lambda module: module.name)
def test_no_text_becomes_code_or_a_shell_command(module):
    forbidden = {"eval", "exec", "builtins.eval", "builtins.exec", "yaml.load", "os.system", "os.popen"}
    loaders = [found.path for found in module.imports if found.path.split(".")[0] in CODE_LOADERS]
    calls = [f"{name} in line {node.lineno}" for name, node in module.calls() if name in forbidden]
    shells = [
        f"shell in line {node.lineno}"
        for _, node in module.calls()
        for keyword in node.keywords
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    assert not [*loaders, *calls, *shells]


# ---- the front door


@pytest.mark.parametrize("name", mipro_walk.__all__)
def test_public_names_exist_and_explain_themselves(name):
    value = getattr(mipro_walk, name)
    if isinstance(value, str):
        return
    said = inspect.getdoc(value) or ""
    assert said
    assert not said.startswith(f"{name}(")  # what a dataclass writes of itself


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_starts_without_the_slow_packages():
    assert not loaded_by("import mipro_walk.cli.main") & set(SLOW)


def test_results_are_shown_without_the_slow_packages():
    commands = "mipro_walk.cli.results_command, mipro_walk.cli.results_screen, mipro_walk.cli.report_command"
    shown = f"import {commands}, mipro_walk.walkthrough.steps.results"
    assert not loaded_by(shown) & set(SLOW)


def test_the_library_is_imported_without_the_slow_packages():
    assert not loaded_by("import mipro_walk") & {*SLOW, "httpx", "typer"}
