#!/usr/bin/env bash
# All checks, the same for people and CI: lint, format, types, tests. Options go to pytest.
set -eu

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/environment.sh
. "$here/environment.sh"

project=$(project_of "${BASH_SOURCE[0]}")
ensure_environment "$project" "[dev]"
cd -- "$project"
python=$(venv_python "$project")

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
exec "$python" -m pytest "$@"
