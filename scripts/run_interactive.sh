#!/usr/bin/env bash
# Starts the walkthrough from any folder: bash run_interactive.sh [options of `mipro-walk run`]
# Finds Python, makes or updates the project's own environment, and hands over to mipro-walk.
set -eu
unset CDPATH

script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
    target=$(readlink -- "$script")
    case $target in
        /*) script=$target ;;
        *) script=$(dirname -- "$script")/$target ;;
    esac
done
scripts=$(cd -P -- "$(dirname -- "$script")" && pwd)
project=$(dirname -- "$scripts")

# shellcheck source=scripts/environment.sh
. "$scripts/environment.sh"
ensure_environment "$project" "[gepa]"
exec "$(venv_python "$project")" -P -m mipro_walk run "$@"
