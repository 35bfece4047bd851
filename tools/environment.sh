#!/usr/bin/env bash
# Make a virtual environment and install the project into it with the tested versions.
#
#   PYTHON=python3.12 tools/environment.sh .venv ".[all,test]"
#
# PYTHON may be empty: then the first Python of 3.11 or newer is taken.
set -euo pipefail

folder=$1
project=$2

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        if is_new_enough "$PYTHON"; then
            echo "$PYTHON"
            return
        fi
        echo "PYTHON=$PYTHON is not a working Python of 3.11 or newer." >&2
        return 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python of 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2
    return 1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Debian and Ubuntu ship ensurepip in a package of its own.
install_ensurepip() {
    local python=$1 package
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    echo "$python lacks the modules venv and ensurepip, which the package $package holds."
    bash "$(dirname "$0")/apt_install.sh" "$package"
}

make_environment() {
    local python
    python=$(find_python)
    if ! can_make_environments "$python"; then
        install_ensurepip "$python" || true
        if ! can_make_environments "$python"; then
            echo "$python cannot make virtual environments: install its venv and ensurepip modules, then try again." >&2
            return 1
        fi
    fi
    "$python" -m venv --clear "$folder"
}

install_project() {
    local attempt
    for attempt in 1 2 3; do
        if "$folder/bin/python" -m pip install --retries 5 -c constraints.txt -e "$project"; then
            return
        fi
        if [ "$attempt" -lt 3 ]; then
            echo "pip failed (attempt $attempt of 3); trying again." >&2
            sleep $((attempt * 5))
        fi
    done
    echo "pip could not install the project; its last message says why." >&2
    return 1
}

# An environment that an interrupted run left without pip is made anew.
if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    make_environment
fi
install_project
