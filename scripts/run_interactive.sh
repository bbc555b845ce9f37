#!/usr/bin/env bash
# Starts the walkthrough from any folder: bash run_interactive.sh [options of `mipro-walk run`]
# Finds Python, makes or updates the project's own environment, and hands over to mipro-walk.
set -eu

here=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
[ -f "$here/environment.sh" ] || here=$here/scripts # called through the link in the project folder
# shellcheck source=scripts/environment.sh
. "$here/environment.sh"

project=$(project_of "${BASH_SOURCE[0]}")
ensure_environment "$project" ""
exec "$(venv_python "$project")" -P -m mipro_walk run "$@"
