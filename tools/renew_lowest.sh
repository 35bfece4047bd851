#!/usr/bin/env bash
# Write lowest.txt anew: the lowest versions of all direct dependencies that pyproject.toml allows, and the newest
# versions of what those need, for the lowest Python.
#
#   tools/renew_lowest.sh .venv/bin/python
#
# torch is the exception: it has the version in constraints.txt, since of older ones the ordinary index has no build
# without CUDA. Nor are the libraries of CUDA listed: `tools/test_lowest.sh` takes torch as it is in the project's own
# environment.
set -euo pipefail

cd "$(dirname "$0")/.."
environment=build/renew_lowest

"$1" -m venv --clear "$environment"
"$environment/bin/python" -m pip install --quiet --retries 5 uv
grep '^torch==' constraints.txt >"$environment/torch.txt"
"$environment/bin/uv" pip compile pyproject.toml --extra all --extra test --resolution lowest-direct \
    --python-version 3.11 --python-platform linux --constraint "$environment/torch.txt" \
    --no-header --no-annotate --quiet --output-file "$environment/lowest.txt"
{
    echo "# The lowest versions that pyproject.toml allows, which tools/test_lowest.sh tests; written by tools/renew_lowest.sh."
    grep -Ev '^(cuda|nvidia|torch|triton)' "$environment/lowest.txt"
} >lowest.txt
