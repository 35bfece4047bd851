"""What opening a widget loads, in a process with a viewer that has loaded nothing before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_care_losses

HEAVY = {
    "torch",
    "torchvision",
    "openvino",
    "skimage",
    "scipy.ndimage",
    "scipy.sparse",
    "scipy.signal",
    "tifffile",
    "zarr",
}

OPENING = """
import json, os, sys
from pathlib import Path

import napari
from npe2 import PluginManager, PluginManifest

manager = PluginManager.instance()
manager.discover()
if "napari-care-losses" not in manager:
    manager.register(PluginManifest.from_file(Path(sys.argv[1])))
for name in sys.argv[2:]:
    # napari is loaded once for all
    if len(sys.argv) > 3 and os.fork():
        assert os.wait()[1] == 0
        continue
    viewer = napari.Viewer(show=False)
    before = set(sys.modules)
    viewer.window.add_plugin_dock_widget("napari-care-losses", name)
    loaded = sorted(set(sys.modules) - before)
    viewer.close()
    print("\\n" + json.dumps([name, loaded]), flush=True)
    if len(sys.argv) > 3:
        os._exit(0)
"""

NAMES = ["Restore", "Train", "Compare"]


@pytest.fixture(scope="module")
def loaded_by(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the modules that opening each widget loads, each in a process of its own."""
    environment = {**os.environ, "NAPARI_CONFIG": str(tmp_path_factory.mktemp("config") / "settings.yaml")}
    manifest = Path(napari_care_losses.__file__).parent / "napari.yaml"
    said = ""
    for names in [NAMES] if hasattr(os, "fork") else [[name] for name in NAMES]:
        command = [sys.executable, "-c", OPENING, str(manifest), *names]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    return dict(json.loads(line) for line in said.splitlines() if line.startswith("["))


@pytest.mark.parametrize("name", NAMES)
def test_opening_a_widget_loads_nothing_it_does_not_show(name: str, loaded_by: dict[str, list[str]]) -> None:
    loaded = set(loaded_by[name])
    assert f"napari_care_losses.widgets.{name.lower()}" in loaded
    # Restore loads OpenVINO beside it, for the preview that comes next
    assert loaded.isdisjoint(HEAVY - {"openvino"} if name == "Restore" else HEAVY)
