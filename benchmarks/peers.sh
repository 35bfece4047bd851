#!/usr/bin/env bash
# Make the environments of the packages this project is measured against.
#
#   PEER_PYTHON=python3.11 benchmarks/peers.sh build/bench/env .venv/bin/python
#
# The second argument is the project's own Python.
# What pip says goes into a log, whose end is shown if it fails.
# TensorFlow 2.15 needs a Python of 3.9 to 3.11. Without one CSBDeep is left out, and the benchmarks say so.
set -euo pipefail

folder=$1
own=$2

fits_tensorflow() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PEER_PYTHON:-} "$own" python3.11 python3.10 python3.9 python3; do
        if fits_tensorflow "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# An environment whose stamp names other packages is made anew.
make_environment() {
    local python=$1 name=$2 attempt
    shift 2
    local stamp="$folder/$name/.installed"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$*" ]; then
        return
    fi
    echo "Making the environment of $name, which takes minutes ..."
    "$python" -m venv --clear "$folder/$name"
    for attempt in 1 2 3; do
        if "$folder/$name/bin/python" -m pip install --retries 5 "$@" >"$folder/$name.log" 2>&1; then
            echo "$*" >"$stamp"
            return
        fi
        [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
    done
    tail -n 20 "$folder/$name.log" >&2
    echo "pip could not install $name; the end of $folder/$name.log says why." >&2
    return 1
}

mkdir -p "$folder"
if python=$(find_python); then
    make_environment "$python" csbdeep csbdeep==0.8.2 tensorflow-cpu==2.15.1 numpy==1.26.4
else
    echo "No Python of 3.9 to 3.11 was found, which TensorFlow 2.15 needs: CSBDeep is left out." >&2
    echo "Name one: make bench PEER_PYTHON=/path/to/python3.11" >&2
fi
# CAREamics 0.3.5 allows torchvision up to 0.26, which goes with torch 2.11 and no other.
make_environment "$own" careamics torch==2.11.0 torchvision==0.26.0 careamics==0.3.5
