"""What importing a part of the package may load, each looked at in a fresh process."""

import json
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import napari_care_losses
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_stack

HEAVY = ["numpy", "scipy", "skimage", "torch", "dask", "tifffile", "zarr"]
VIEWER = ["napari", "magicgui", "qtpy", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6", "pyqtgraph", "vispy"]
PREFIX = "napari_care_losses."
SEES_THE_VIEWER = ("widgets", "plugin", "cli.demo")
SCIENCE = sorted(
    module.name
    for module in pkgutil.walk_packages(napari_care_losses.__path__, PREFIX)
    if not module.name.removeprefix(PREFIX).startswith(SEES_THE_VIEWER)
    and (find_spec("openvino") or ".openvino" not in module.name)
)


def loaded_by(code):
    """Return the top-level modules a fresh process has loaded after running `code`."""
    reading = "import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{reading}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_module_but_those_of_the_viewer_is_free_of_it():
    assert {f"{PREFIX}{name}" for name in ("training.trainer", "restoration.to_file", "models.model")} <= set(SCIENCE)
    loaded = loaded_by("\n".join(f"import {name}" for name in SCIENCE))
    assert "torch" in loaded
    assert loaded.isdisjoint(VIEWER)


def files_with(pattern):
    """Return the files of the package in which a pattern is found."""
    package = Path(napari_care_losses.__path__[0])
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(pattern, path.read_text("utf-8"))
    }


def test_the_sandbox_alone_starts_programs():
    # on Windows a program that is started in another way opens a window of its own
    starts = r"\b(subprocess|multiprocessing|pexpect)\b|\bos\.(system|popen|exec|spawn|posix_spawn|fork)"
    # the second names what it refuses
    assert files_with(starts) == {"interchange/sandbox.py", "interchange/sandbox_child.py"}


def test_the_command_line_alone_starts_workers():
    # Dask starts them in the console of the command; the viewer may have none
    assert files_with(r"\b(LocalCluster|Nanny)\b|(?<![.\w])connected\(") == {
        "restoration/cluster/scheduler.py",
        "cli/restore.py",
    }


@pytest.mark.parametrize(
    "code",
    [
        "from napari_care_losses.cli.main import main; main(['models', '--json'])",
        "import napari_care_losses.models.library, napari_care_losses.images.frames, napari_care_losses.parameters, "
        "napari_care_losses.models.architecture, napari_care_losses.models.model, "
        "napari_care_losses.restoration.parameters",
        "from napari_care_losses.cli.main import main\ntry: main(['restore', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    assert loaded_by(code).isdisjoint(["torch", *VIEWER])


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_restoring_with_openvino_loads_no_torch(tmp_path):
    path = tmp_path / "noisy.tif"
    save_stack(path, Frames(np.random.default_rng(0).poisson(50, (2, 32, 48)).astype(np.uint16), "TYX"))
    options = ["restore", "fft-lite", str(path), "--out", str(tmp_path / "restored.tif"), "--device", "cpu"]
    loaded = loaded_by(f"from napari_care_losses.cli.main import main\nmain({options})")
    assert (tmp_path / "restored.tif").is_file()
    assert "openvino" in loaded
    assert loaded.isdisjoint(["torch", *VIEWER])


@pytest.mark.parametrize(
    "code",
    [
        "import napari_care_losses",
        "import napari_care_losses.cli.main",
        "from napari_care_losses.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_the_package_and_the_help_load_nothing_heavy(code):
    assert loaded_by(code).isdisjoint([*HEAVY, *VIEWER])


def test_the_scores_of_a_widget_load_no_filter_before_they_are_asked_for():
    modules = "napari_care_losses.evaluation.metrics, napari_care_losses.training.parameters"
    assert loaded_by(f"import {modules}").isdisjoint(["torch", "scipy", "skimage"])
