"""What opening a widget loads, in a fresh process with a viewer."""

from __future__ import annotations

import json
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
import json, sys
from pathlib import Path

import napari
from npe2 import PluginManager, PluginManifest

manager = PluginManager.instance()
manager.discover()
if "napari-care-losses" not in manager:
    manager.register(PluginManifest.from_file(Path(sys.argv[2])))
viewer = napari.Viewer(show=False)
before = set(sys.modules)
viewer.window.add_plugin_dock_widget("napari-care-losses", sys.argv[1])
loaded = sorted(set(sys.modules) - before)
viewer.close()
print("\\n" + json.dumps(loaded))
"""


@pytest.mark.parametrize("name", ["Restore", "Train", "Compare"])
def test_opening_a_widget_loads_nothing_it_does_not_show(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "settings.yaml"))
    manifest = Path(napari_care_losses.__file__).parent / "napari.yaml"
    command = [sys.executable, "-c", OPENING, name, str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert f"napari_care_losses.widgets.{name.lower()}" in loaded
    # Restore loads OpenVINO beside it, for the preview that comes next
    assert loaded.isdisjoint(HEAVY - {"openvino"} if name == "Restore" else HEAVY)
