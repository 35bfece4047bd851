"""Where the live preview is not shown, when it goes, and that it takes nothing with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import PARAMETERS, large_stack, look, show_preview
from fixtures.restore_widget import entry
from qtpy.QtWidgets import QWidget

from napari_care_losses.widgets.restore.preview.live_preview import LivePreview
from napari_care_losses.widgets.restore.preview.visible_region import camera_of, grid_of, visible_region

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from fixtures.preview_layers import Shown
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot


@pytest.fixture
def show(viewer: ViewerModel, add_model: Callable[..., str], qtbot: QtBot) -> Callable[..., Shown]:
    return partial(show_preview, viewer, add_model, qtbot)


@pytest.fixture
def large() -> NDArray[np.uint16]:
    return large_stack()


@pytest.mark.parametrize(
    ("reason", "prevent", "allow"),
    [
        (
            "only in 2D",
            lambda s: setattr(s.viewer.dims, "ndisplay", 3),
            lambda s: setattr(s.viewer.dims, "ndisplay", 2),
        ),
        (
            "side by side",
            lambda s: setattr(grid_of(s.viewer), "enabled", True),
            lambda s: setattr(grid_of(s.viewer), "enabled", False),
        ),
        (
            "roll the dimensions back",
            lambda s: setattr(s.viewer.dims, "order", (1, 0, 2)),
            lambda s: setattr(s.viewer.dims, "order", (0, 1, 2)),
        ),
        (
            "hidden",
            lambda s: setattr(s.source, "visible", False),
            lambda s: setattr(s.source, "visible", True),
        ),
    ],
)
def test_where_it_cannot_be_shown_it_goes_and_says_why(reason, prevent, allow, show, stack) -> None:
    shown = show(stack)
    shown.wait()
    prevent(shown)
    assert shown.wait() is None
    assert reason in shown.said[-1]
    assert len(shown.viewer.layers) == 1
    allow(shown)
    shown.viewer.dims.set_current_step(0, 0)
    look(shown.viewer, (20, 26), 1)
    assert shown.wait() is not None


def test_out_of_view_nothing_is_restored(show, stack) -> None:
    shown = show(stack)
    look(shown.viewer, (5000, 5000), 1)
    assert shown.wait() is None
    assert "out of view" in shown.said[-1]
    look(shown.viewer, (20, 26), 1)
    shown.wait()
    shown.viewer.add_image(np.zeros((9, 4, 4)))
    shown.viewer.dims.set_current_step(0, 7)
    painted = len(shown.painted)
    shown.wait()
    assert "out of view" in shown.said[-1]
    assert len(shown.painted) == painted


def test_switched_off_it_goes(show, stack) -> None:
    shown = show(stack)
    shown.wait()
    shown.live.set_enabled(False)
    assert list(shown.viewer.layers) == [shown.source]
    shown.viewer.dims.set_current_step(0, 2)
    shown.wait()
    assert list(shown.viewer.layers) == [shown.source]


def test_its_layer_deleted_by_the_user_switches_it_off(show, stack) -> None:
    shown = show(stack)
    shown.viewer.layers.remove(shown.wait())
    with shown.qtbot.waitSignal(shown.live.switched_off):
        pass
    assert not shown.live.is_enabled
    shown.viewer.dims.set_current_step(0, 2)
    shown.wait()
    assert len(shown.viewer.layers) == 1


@pytest.mark.parametrize("while_running", [True, False])
def test_with_its_source_it_goes(while_running, show, stack) -> None:
    shown = show(stack)
    if while_running:
        shown.qtbot.waitUntil(lambda: not shown.live._delay.isActive())
    else:
        shown.wait()
    shown.viewer.layers.remove(shown.source)
    shown.qtbot.waitUntil(lambda: not shown.viewer.layers)
    shown.wait()
    shown.qtbot.wait(50)
    assert not shown.viewer.layers


def test_all_layers_deleted_at_once(show, stack) -> None:
    shown = show(stack)
    shown.wait()
    switched_off = []
    shown.live.switched_off.connect(lambda: switched_off.append(True))
    shown.viewer.layers.move(1, 0)
    shown.viewer.layers.clear()
    shown.qtbot.wait(50)
    assert shown.wait() is None
    assert not switched_off
    assert shown.live.is_enabled


@pytest.mark.parametrize("while_running", [True, False])
def test_with_its_widget_it_goes(while_running, show, stack) -> None:
    shown = show(stack)
    if not while_running:
        shown.wait()
    with shown.qtbot.waitSignal(shown.live.destroyed):
        shown.widget.deleteLater()
    assert list(shown.viewer.layers) == [shown.source]
    shown.viewer.dims.set_current_step(0, 2)
    camera_of(shown.viewer).zoom *= 2
    shown.source.visible = False
    shown.qtbot.wait(50)
    assert list(shown.viewer.layers) == [shown.source]


def test_in_a_real_viewer_it_follows_zoom_and_slider_and_ends_with_its_dock(
    make_napari_viewer: Callable[..., napari.Viewer], add_model: Callable[..., str], large, qtbot: QtBot
) -> None:
    add_model()
    viewer = make_napari_viewer(show=True)
    source = viewer.add_image(large, name="cells")
    viewer.layers.selection.active = source
    widget = QWidget()
    dock = viewer.window.add_dock_widget(widget)
    live = LivePreview(viewer, parent=widget)
    live.set_source(source, entry(), PARAMETERS)
    live.set_enabled(True)

    def waited() -> Image:
        qtbot.wait(100)
        qtbot.waitUntil(lambda: not live.is_running, timeout=180_000)
        return live.layer

    assert np.isfinite(waited().data).all()
    qtbot.waitUntil(lambda: source.corner_pixels.any())
    y0, y1, x0, x1 = visible_region(viewer, source)
    seen = source.corner_pixels[:, 1:]
    np.testing.assert_allclose(seen, np.clip([(y0, x0), (y1, x1)], 0, (899, 1099)), atol=1.5)
    viewer.dims.set_current_step(0, 1)
    camera_of(viewer).zoom = 20
    camera_of(viewer).center = (0, 100, 300)
    layer = waited()
    y0, y1, x0, x1 = visible_region(viewer, source)
    qtbot.waitUntil(lambda: abs(source.corner_pixels[0, 1] - y0) < 1.5)
    np.testing.assert_allclose(source.corner_pixels[:, 1:], [(y0, x0), (y1, x1)], atol=1.5)
    assert abs((y1 - y0) * (x1 - x0) - np.isfinite(layer.data).sum()) < 2 * (y1 - y0 + x1 - x0) + 4
    assert viewer.layers.selection.active is source
    shot = viewer.screenshot(flash=False)
    live.set_enabled(False)
    assert np.abs(shot.astype(int) - viewer.screenshot(flash=False)).mean() > 2
    live.set_enabled(True)
    waited()
    viewer.dims.ndisplay = 3
    assert list(viewer.layers) == [source]
    assert waited() is None
    viewer.dims.ndisplay = 2
    assert waited() is not None
    viewer.window.remove_dock_widget(dock)
    assert list(viewer.layers) == [source]
    viewer.dims.set_current_step(0, 0)
    qtbot.wait(100)
    assert list(viewer.layers) == [source]


def test_the_viewer_can_be_closed_while_a_preview_is_made(
    make_napari_viewer: Callable[..., napari.Viewer], add_model: Callable[..., str], large, qtbot: QtBot
) -> None:
    add_model()
    viewer = make_napari_viewer(show=True)
    source = viewer.add_image(large)
    widget = QWidget()
    viewer.window.add_dock_widget(widget)
    live = LivePreview(viewer, parent=widget)
    live.set_source(source, entry(), PARAMETERS)
    live.set_enabled(True)
    qtbot.waitUntil(lambda: not live._delay.isActive())
    viewer.close()
