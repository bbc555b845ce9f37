# shellcheck shell=bash
# Sourced by run_interactive.sh and test.sh: makes the project's environment (.venv) and keeps it up to date.
# It writes to the project folder only; pip's or uv's own download cache stays where the user keeps it.

is_new_enough() {
    "$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3.14 python3 python py; do
        if command -v "$name" >/dev/null 2>&1 && is_new_enough "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    echo "Error: Python 3.11 or newer is needed and was not found." >&2
    echo "Fix: Install it from https://www.python.org/downloads/ and start again." >&2
    return 3
}

venv_python() {
    if [ -x "$1/.venv/Scripts/python.exe" ]; then
        printf '%s\n' "$1/.venv/Scripts/python.exe"
    else
        printf '%s\n' "$1/.venv/bin/python"
    fi
}

with_progress() {
    # Runs a silent command; says every four seconds that it is still at work.
    local words=$1 pid status=0
    shift
    echo "$words" >&2
    "$@" &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM HUP
    (
        seconds=0
        # The sleep must not keep our own output open after the end.
        while sleep 4 >/dev/null 2>&1 && kill -0 "$pid" 2>/dev/null; do
            seconds=$((seconds + 4))
            echo "  ... still at it, $seconds s" >&2
        done
    ) &
    local ticker=$!
    wait "$pid" || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    trap - INT TERM HUP
    return "$status"
}

install_project() {
    local project=$1 extra=$2 python
    python=$(venv_python "$project")
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$python" --constraint "$project/constraints.txt" --editable "$project$extra"
    else
        "$python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$project/constraints.txt" --editable "$project$extra"
    fi
}

ensure_environment() {
    # ensure_environment PROJECT EXTRA, where EXTRA is empty or such as [dev].
    local project=$1 extra=$2 python stamp sum
    stamp=$project/.venv/.mipro-walk
    # The folder is part of it: an environment that was moved does not work any more.
    sum=$(cat -- "$project/pyproject.toml" "$project/constraints.txt" | cksum)
    if [ -r "$stamp" ] && grep -qxF -- "installed$extra $sum $project" "$stamp"; then
        return
    fi
    if [ -r "$stamp" ] && ! grep -qF -- " $project" "$stamp"; then
        rm -rf -- "$project/.venv"
    fi
    if ! "$(venv_python "$project")" -c 'import pip' >/dev/null 2>&1; then
        python=$(find_python) || return
        with_progress "Making an environment in $project/.venv ..." "$python" -m venv "$project/.venv" || return 3
    fi
    if ! with_progress "Installing mipro-walk and what it needs (once, about a minute) ..." \
        install_project "$project" "$extra"; then
        echo "Error: The installation failed; the reason stands above." >&2
        echo "Fix: Check the network connection and the free disk space, then start again." >&2
        return 3
    fi
    # What was installed with an extra serves without it, too.
    printf '%s\n' "installed$extra $sum $project" "installed $sum $project" >"$stamp"
}
