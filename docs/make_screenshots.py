"""Take the pictures of the widgets at work that the documentation shows.

Opens a real viewer, so it needs a display; a virtual one serves: ``xvfb-run -a python docs/make_screenshots.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import npe2
from napari.qt import get_qapp
from qtpy.QtWidgets import QApplication

import napari_care_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_care_losses.widgets.restore import RestoreWidget
    from napari_care_losses.widgets.train import TrainWidget

PLUGIN = "napari-care-losses"
SIZE = (1366, 768)
"""Pixels of a small laptop's screen: what fits there fits anywhere."""


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", help="Name or file of the model Restore shows; the one trained for the picture of Train if missing."
    )
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    get_qapp()
    with tempfile.TemporaryDirectory() as library:
        # The pictures must not depend on, nor add to, the models of whoever takes them.
        os.environ["NAPARI_CARE_LOSSES_LIBRARY"] = library
        _register()
        napari.settings.get_settings().appearance.theme = options.theme
        viewer = napari.Viewer(show=False)
        viewer.show()
        viewer.window.resize(*SIZE)
        layers = viewer.open_sample(PLUGIN, "actin")
        truth, low = layers
        train = _open(viewer, "Train")
        _show_training(viewer, train, low, truth, options.out / "train.png", seconds=60)
        viewer.window.remove_dock_widget(train)
        restore = _open(viewer, "Restore")
        if options.model:
            if Path(options.model).is_file():
                restore.model.open_file(Path(options.model))
            else:
                restore.model.choose(options.model)
        _show_restoring(viewer, restore, truth, options.out / "restore.png")
        viewer.close()


def _show_training(
    viewer: napari.Viewer, train: TrainWidget, low: Image, truth: Image, out: Path, *, seconds: float
) -> None:
    train.pairs.rows[0].choose(low, truth)
    train.structure.setCurrentText("actin")
    train.loss.choose("fft")
    train.form.set_values({"amount": seconds / 60, "steps_per_epoch": 25})
    train.run_bar.start_button.click()
    _wait(lambda: not train.is_running or train.run_bar.progress.value() > 700, 600)
    _take(viewer, out)
    _wait(lambda: not train.is_running, 600)


def _show_restoring(viewer: napari.Viewer, restore: RestoreWidget, truth: Image, out: Path) -> None:
    viewer.dims.set_current_step(0, 4)
    restore.scores.truth.choose(truth)
    restore.run_bar.start_button.click()
    _wait(lambda: not restore.is_running, 600)
    _wait(lambda: not restore.scores.is_scoring, 60)
    getattr(viewer, "scene", viewer).camera.zoom *= 2  # viewer.camera is deprecated since napari 0.9
    _take(viewer, out)


def _register() -> None:
    """Make the plugin known to napari where it is not installed."""
    manager = npe2.PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(napari_care_losses.__file__).parent / "napari.yaml"))


def _open(viewer: napari.Viewer, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def _wait(is_done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("the viewer did not get there in time")
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.02)


def _take(viewer: napari.Viewer, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    viewer.screenshot(out, canvas_only=False, flash=False)
    print(out)


if __name__ == "__main__":
    main()
