from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.docks import click, docked
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from npe2 import PluginManifest
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.widget import RestoreWidget


def test_every_command_resolves(plugin: PluginManifest) -> None:
    assert plugin.display_name == "CARE Losses"
    for command in plugin.contributions.commands:
        assert callable(PluginManager.instance().commands.get(command.id))


def test_every_contribution_names_a_command(plugin: PluginManifest) -> None:
    commands = {command.id for command in plugin.contributions.commands}
    given = plugin.contributions
    used = {item.command for item in (*given.widgets, *given.sample_data, *given.readers, *given.writers)}
    assert used == commands
    assert [widget.display_name for widget in plugin.contributions.widgets] == ["Restore", "Train", "Compare"]


@pytest.mark.parametrize("name", ["Restore", "Train", "Compare"])
def test_every_widget_opens(name: str, plugin, make_napari_viewer: Callable[..., napari.Viewer]) -> None:
    dock, widget = make_napari_viewer().window.add_plugin_dock_widget(plugin.name, name)
    assert isinstance(widget, QWidget)
    assert dock.widget() is widget


def test_widgets_share_one_place_as_tabs(
    plugin, make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    docks = [viewer.window.add_plugin_dock_widget(plugin.name, name)[0] for name in ("Restore", "Train")]
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(docks[0]) == [docks[1]], timeout=30_000)
    docks[0].setFloating(True)
    docks.append(viewer.window.add_plugin_dock_widget(plugin.name, "Compare")[0])
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(docks[1]) == [docks[2]], timeout=30_000)
    assert window.tabifiedDockWidgets(docks[0]) == []


SAMPLES = "actin", "mitochondria", "dendra", "z_stack"


@pytest.mark.parametrize("key", SAMPLES)
def test_every_sample_is_a_pair(key: str, plugin, short_samples) -> None:
    open_sample(plugin, key)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "frames"), [*zip(SAMPLES, (9, 9, 30, 15), strict=True)])
def test_every_whole_sample_is_a_pair(key: str, frames: int, plugin) -> None:
    assert len(open_sample(plugin, key)) == frames


def open_sample(plugin: PluginManifest, key: str) -> NDArray[np.uint16]:
    (sample,) = (item for item in plugin.contributions.sample_data if item.key == key)
    (high, _, _), (low, options, kind) = sample.open()
    assert kind == "image"
    assert low.shape == high.shape
    assert low.dtype == np.uint16
    assert len(options["axis_labels"]) == low.ndim
    return low


def test_from_the_menu_to_the_scores(
    plugin, make_napari_viewer: Callable[..., napari.Viewer], add_model: Callable[..., str], short_samples, qtbot: QtBot
) -> None:
    add_model("untrained", loss="bandpass")
    viewer = make_napari_viewer(show=True)
    truth, low = viewer.open_sample(plugin.name, "actin")
    for layer in (truth, low):
        layer.data = layer.data[:, :128, :144]
    click(viewer, "Plugins", "CARE Losses", "Restore")
    widget: RestoreWidget = docked(viewer, "Restore (CARE Losses)")
    assert widget.image.value is low
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=60_000)
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    restored = viewer.layers[-1]
    assert restored.name == "restored actin 1 ms (untrained)"
    assert np.isfinite(restored.data).all()
    assert np.asarray(restored.data).reshape(3, -1).any(axis=1).all()
    assert np.allclose(restored.scale, low.scale)
    assert restored.units == low.units
    assert restored.axis_labels == low.axis_labels
    widget.scores.truth.value = truth
    qtbot.waitUntil(lambda: not widget.scores.is_scoring, timeout=60_000)
    assert float(widget.scores.of_truth.values["restored", "psnr"].text()) > 5
    click(viewer, "Plugins", "CARE Losses", "Train")
    assert docked(viewer, "Train (CARE Losses)").pairs.rows


@pytest.mark.parametrize("name", ["Restore", "Train", "Compare"])
def test_a_widget_leaves_the_image_room_on_a_small_screen(
    name: str, plugin, make_napari_viewer: Callable[..., napari.Viewer], add_model: Callable[..., str]
) -> None:
    add_model("a-model-with-quite-a-long-name-of-its-own", loss="bandpass")
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(plugin.name, name)
    widget.ensurePolished()
    QApplication.processEvents()
    assert widget.minimumSizeHint().width() < 420
    assert widget.minimumSizeHint().height() < 250
