"""Time how long a widget of the plugin takes to open in a running viewer; print it as JSON.

xvfb-run -a python widgets.py Restore
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import napari
import npe2
import numpy as np
from qtpy.QtWidgets import QApplication

import napari_care_losses

PLUGIN = "napari-care-losses"


def main(name: str) -> None:
    """Open the widget `name`."""
    manager = npe2.PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(napari_care_losses.__file__).parent / "napari.yaml"))
    viewer = napari.Viewer()
    viewer.add_image(np.zeros((4, 256, 256), np.uint16))
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.02)
    begun = time.perf_counter()
    viewer.window.add_plugin_dock_widget(PLUGIN, name)
    opened = time.perf_counter() - begun
    QApplication.processEvents()
    shown = time.perf_counter() - begun
    print(json.dumps({"opened": opened, "shown": shown, "torch": "torch" in sys.modules}))
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1])
