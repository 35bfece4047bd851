from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget

from napari_care_losses.widgets.shared.panel import make_canvas_current


@pytest.mark.parametrize("name", ["Restore", "Train", "Compare"])
def test_the_canvas_is_current_when_a_layer_is_removed(name: str, plugin, make_napari_viewer, stack, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack)
    viewer.window.add_plugin_dock_widget(plugin.name, name)
    layer = viewer.add_image(np.ones((1, 40, 52)))
    qtbot.wait(50)
    # the slider leaves the layer: removed then, and another added, it made napari crash
    viewer.dims.set_current_step(0, 2)
    qtbot.wait(50)
    (canvas,) = viewer.window._qt_window.centralWidget().findChildren(QOpenGLWidget)
    canvas.doneCurrent()
    is_current: list[bool] = []
    viewer.layers.events.removing.connect(
        lambda _: is_current.append(QOpenGLContext.currentContext() == canvas.context()), position="last"
    )
    viewer.layers.remove(layer)
    assert is_current == [True]
    qtbot.wait(50)
    viewer.add_image(stack)
    qtbot.wait(50)


def test_without_a_window_the_context_stays() -> None:
    before = QOpenGLContext.currentContext()
    make_canvas_current(None)
    assert QOpenGLContext.currentContext() is before
