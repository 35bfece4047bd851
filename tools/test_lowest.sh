#!/usr/bin/env bash
# Run a selection of the tests with the lowest versions that pyproject.toml allows, in an environment of its own.
#
#   tools/test_lowest.sh build/lowest .venv/bin/python
#
# The second argument is the project's own Python, whose torch is used: see tools/renew_lowest.sh. Where no package can
# be fetched, nothing is tested; a version that cannot be installed although others can is an error.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=$1
own=$2
tests=(
    # the examples of all modules: they simulate, restore, train, compare and export
    tests/house/test_public_names.py
    # the three widgets in a viewer, each from the menu to its result
    tests/plugin
    tests/widgets/train/test_train.py::test_from_the_menu_to_the_model_in_the_library
    tests/widgets/compare/test_compare.py::test_from_the_menu_to_the_report
    tests/cli/test_commands.py::TestRestore
    tests/restoration/test_cluster.py::TestWithWorkers::test_a_selection_flips_and_the_scale
    tests/io/test_tiff.py
    tests/io/test_ome_zarr.py
    # each loss and metric against another library
    tests/losses/test_losses.py
    tests/evaluation/test_metrics.py
)

site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
install() { "$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --no-deps "$@"; }

if ! "$own" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "lowest.txt is for Python 3.11, the lowest one: nothing is tested with $("$own" --version)."
    exit
fi
if ! cmp --silent lowest.txt "$folder/.installed"; then
    "$own" -m venv --clear "$folder"
    if ! "$folder/bin/python" -m pip install --quiet --retries 5 uv; then
        echo "No package can be fetched: the lowest versions are not tested." >&2
        exit
    fi
    # a second try, since a download may break off
    install -r lowest.txt || install -r lowest.txt
    for part in torch torchgen functorch "$(basename "$(site "$own")"/torch-*.dist-info)"; do
        ln -sfn "$(site "$own")/$part" "$(site "$folder/bin/python")/$part"
    done
    install --editable .
    "$folder/bin/python" -m pip check
    cp lowest.txt "$folder/.installed"
fi
"$folder/bin/python" -m pytest -m "not slow" -p no:cacheprovider "${tests[@]}"
