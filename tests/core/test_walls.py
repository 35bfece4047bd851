"""What importing a part of the package may load, each looked at in a fresh process."""

import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

import napari_care_losses.core

HEAVY = ["numpy", "scipy", "skimage", "torch", "dask", "tifffile", "zarr"]
VIEWER = ["napari", "magicgui", "qtpy", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6", "pyqtgraph", "vispy"]
PREFIX = "napari_care_losses.core."
CORE = sorted(
    module.name.removeprefix(PREFIX)
    for module in pkgutil.walk_packages(napari_care_losses.core.__path__, PREFIX)
    if find_spec("openvino") or not module.name.startswith(f"{PREFIX}openvino")
)


def loaded_by(code):
    """Return the top-level modules a fresh process has loaded after running `code`."""
    reading = "import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{reading}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_module_of_the_core_is_free_of_the_viewer():
    assert {"training", "restoration", "model", "jobs"} <= set(CORE)
    loaded = loaded_by("\n".join(f"import napari_care_losses.core.{name}" for name in CORE))
    assert "torch" in loaded
    assert loaded.isdisjoint(VIEWER)


@pytest.mark.parametrize(
    "code",
    [
        "from napari_care_losses.cli import main; main(['models', '--json'])",
        "from napari_care_losses.core import library, frames, parameters, architecture, model, restoration_parameters",
        "from napari_care_losses.cli import main\ntry: main(['restore', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    assert loaded_by(code).isdisjoint(["torch", *VIEWER])


@pytest.mark.parametrize(
    "code",
    [
        "import napari_care_losses",
        "import napari_care_losses.cli",
        "from napari_care_losses.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_the_package_and_the_help_load_nothing_heavy(code):
    assert loaded_by(code).isdisjoint([*HEAVY, *VIEWER])


def test_the_scores_of_a_widget_load_no_filter_before_they_are_asked_for():
    modules = "napari_care_losses.core.metrics, napari_care_losses.core.training_parameters"
    assert loaded_by(f"import {modules}").isdisjoint(["torch", "scipy", "skimage"])
