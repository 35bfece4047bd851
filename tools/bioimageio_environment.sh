#!/usr/bin/env bash
# Make an environment with bioimageio.core, whose test of a package the slow tests run.
#
#   tools/bioimageio_environment.sh build/bioimageio .venv/bin/python
#
# The second argument is the project's own Python. What is installed there (torch above all) is used; only what
# bioimageio.core wants otherwise is installed anew: it asks for a release of bioimageio.spec that does not work with
# pydantic 2.14.
set -euo pipefail

folder=$1
own=$2
packages=(bioimageio.core==0.11.0 "pydantic<2.14" onnxruntime==1.32.0)

stamp="$folder/.installed"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "${packages[*]}" ]; then
    exit
fi
"$own" -m venv --clear "$folder"
site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
site "$own" >"$(site "$folder/bin/python")/own.pth"
"$folder/bin/python" -m pip install --quiet --retries 5 "${packages[@]}"
echo "${packages[*]}" >"$stamp"
