#!/usr/bin/env bash
# All checks, the same for people and CI: lint, format, types, tests. Options go to pytest.
set -eu
unset CDPATH

scripts=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname -- "$scripts")

ensure_browser() {
    # Only a CI machine is changed, and only if that is ours to do; elsewhere the tests of pages are skipped and say so.
    if command -v chromium >/dev/null 2>&1 || [ "${CI:-}" != true ]; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then return; fi
    echo "Installing Chromium for the tests of pages ..." >&2
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null ||
        echo "Chromium cannot be installed here; the tests of pages are skipped." >&2
}

# shellcheck source=scripts/environment.sh
. "$scripts/environment.sh"
ensure_environment "$project" "[dev]"
ensure_browser
cd -- "$project"
python=$(venv_python "$project")

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
# Files side by side: most tests wait for processes. Two workers are enough for two cores.
exec "$python" -m pytest -n 2 --dist loadfile "$@"
