#!/usr/bin/env bash
# Build the wheel and the sdist into dist/ and check them, the wheel in an environment of its own.
#
#   tools/package.sh .venv/bin/python
set -euo pipefail

python=$1
environment=build/package

"$python" -m pip install --quiet -c constraints.txt build twine
rm -rf dist "$environment"
"$python" -m build --outdir dist
"$python" -m twine check --strict dist/*
"$python" -m venv "$environment"
wheel=$(echo dist/*.whl)
"$environment/bin/python" -m pip install --quiet --retries 5 -c constraints.txt "${wheel}[all]"
"$python" tools/check_package.py dist "$PWD/$environment/bin/python"
