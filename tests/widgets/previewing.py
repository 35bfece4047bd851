"""A live preview of a layer, for the tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QWidget
from restoring import entry

from napari_care_losses.core.model import load_model
from napari_care_losses.core.restoration import RestorationParameters, restore
from napari_care_losses.widgets.restoring.live_preview import LivePreview
from napari_care_losses.widgets.restoring.visible_region import camera_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.core.library import LibraryEntry

PARAMETERS = RestorationParameters()
CANVAS = (600, 800)


class Shown:
    """A live preview of a layer that is switched on, what it says, and how to wait for it."""

    def __init__(self, viewer: ViewerModel, layer: Image, entry: LibraryEntry, qtbot: QtBot) -> None:
        self.viewer, self.source, self.entry, self.qtbot = viewer, layer, entry, qtbot
        # which the test's end closes: the widget itself may be gone by then
        self.window = QWidget()
        qtbot.addWidget(self.window)
        self.widget = QWidget(self.window)
        self.live = LivePreview(viewer, parent=self.widget)
        self.said: list[str] = []
        self.painted: list[float] = []
        self.live.said.connect(self.said.append)
        self.live.painted.connect(self.painted.append)
        self.live.set_source(layer, entry, PARAMETERS)
        self.live.set_enabled(True)

    def wait(self) -> Image | None:
        self.qtbot.waitUntil(lambda: not self.live.is_running, timeout=20_000)
        return self.live.layer

    def expected(self, index: int, parameters: RestorationParameters = PARAMETERS) -> NDArray[np.float32]:
        data = self.source.data[0] if self.source.multiscale else np.asarray(self.source.data)
        return restore(data, load_model(self.entry.path), parameters)[index]


def show_preview(
    viewer: ViewerModel, add_model: Callable[..., str], qtbot: QtBot, data: NDArray, **options: object
) -> Shown:
    """Look at the first frame of a stack in a canvas of 600 x 800 px, a pixel each."""
    if hasattr(viewer, "canvas"):
        viewer.canvas.size = CANVAS
    else:
        viewer._canvas_size = CANVAS
    add_model()
    layer = viewer.add_image(data, name="cells", **options)
    look(viewer, (data.shape[-2] / 2, data.shape[-1] / 2), 1)
    viewer.dims.set_current_step(0, 0)
    return Shown(viewer, layer, entry(), qtbot)


def large_stack() -> NDArray[np.uint16]:
    """Return two noisy frames larger than the preview."""
    return np.random.default_rng(0).poisson(50, (2, 900, 1100)).astype(np.uint16)


def look(viewer: ViewerModel, centre: tuple[float, float], zoom: float) -> None:
    camera = camera_of(viewer)
    camera.center, camera.zoom = (0, *centre), zoom


def hover(viewer: ViewerModel, place: tuple[float, float]) -> None:
    """Put the cursor somewhere, in the world's plane."""
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (*viewer.dims.point[:-2], *place)


def on_source(layer: Image, source: Image, place: tuple[int, ...]) -> NDArray[np.float64]:
    """Return where in the source's data a pixel of the preview lies."""
    return np.asarray(source.world_to_data(layer.data_to_world(place)))
