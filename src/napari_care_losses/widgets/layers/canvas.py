"""Removing layers without napari crashing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtOpenGLWidgets import QOpenGLWidget

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMainWindow


def make_canvas_current(window: QMainWindow | None) -> None:
    """Make the OpenGL context of the viewer's canvas the current one, before a layer is removed.

    napari deletes the layer's buffers in whichever context is current (0.9.2: the deletions are flushed in
    `VispyCanvas._clean_and_update_scenegraph`). Outside of its own drawing that is another one; the canvas goes on
    using the buffers, and the process crashes when the next layer is added, above all where the removed one was not
    drawn any more: the slider had left it, or the viewer had turned to 3D.

    Parameters
    ----------
    window : QMainWindow, optional
        The viewer's window, if it has one.
    """
    centre = window.centralWidget() if window is not None and isalive(window) else None
    if centre is not None:
        for canvas in centre.findChildren(QOpenGLWidget):
            canvas.makeCurrent()
