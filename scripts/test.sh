#!/usr/bin/env bash
# All checks, the same for people and CI: lint, format, types, tests. Options go to pytest.
set -eu
unset CDPATH

scripts=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname -- "$scripts")

# shellcheck source=scripts/environment.sh
. "$scripts/environment.sh"
ensure_environment "$project" "[dev]"
cd -- "$project"
python=$(venv_python "$project")

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
exec "$python" -m pytest "$@"
