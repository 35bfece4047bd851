"""A Train widget that would train on a pair of small layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fixtures.train_widget import FEW, add_pair, make_widget

from napari_care_losses.widgets.train.widget import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot


@pytest.fixture
def layers(viewer: ViewerModel, stack: NDArray[np.uint16]) -> tuple[Image, Image]:
    return add_pair(viewer, stack)


@pytest.fixture
def widget(viewer: ViewerModel, layers: tuple[Image, Image], qtbot: QtBot) -> TrainWidget:
    return make_widget(viewer, layers, qtbot)


@pytest.fixture
def docked_widget(make_napari_viewer: Callable[..., napari.Viewer], stack) -> tuple[napari.Viewer, TrainWidget]:
    """Return a viewer and a widget in its dock, which would train for hours."""
    viewer = make_napari_viewer(show=True)
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    widget.form.set_values({**FEW, "budget": "steps", "amount": 1e6})
    widget.pairs.rows[0].choose(viewer.add_image(stack), viewer.add_image(stack[[1, 2, 0]]))
    return viewer, widget
