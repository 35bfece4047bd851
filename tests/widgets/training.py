"""A Train widget with a pair of small layers and few steps, for the tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.widgets.train import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

FEW = {"preset": "lite", "patch_size": 16, "batch_size": 2, "steps_per_epoch": 3, "validation_patches": 2}


def add_pair(viewer: ViewerModel, stack: NDArray[np.uint16]) -> tuple[Image, Image]:
    """Add a low and a high exposure."""
    clean = np.repeat(stack[:1], 3, axis=0).astype(np.float32) * 2
    return viewer.add_image(stack, name="1 ms"), viewer.add_image(clean, name="100 ms", visible=False)


def make_widget(viewer: ViewerModel, layers: tuple[Image, Image], qtbot: QtBot) -> TrainWidget:
    """Return a widget that would train on the layers for six steps."""
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.pairs.rows[0].choose(*layers)
    widget.form.set_values({**FEW, "budget": "steps", "amount": 6})
    return widget


def press_start(widget: TrainWidget, qtbot: QtBot, *, until: Callable[[], bool] | None = None) -> None:
    """Press Start and wait until a state is reached, by default the end."""
    assert widget.run_bar.start_button.isEnabled(), widget.run_bar.reason.text()
    widget.run_bar.start_button.click()
    qtbot.waitUntil(until or (lambda: not widget.is_running), timeout=60_000)


def is_stepping(widget: TrainWidget) -> bool:
    """Return whether a step has been shown."""
    return "steps a second" in widget.run_bar.status.text()


def stop(widget: TrainWidget, qtbot: QtBot) -> None:
    """Press Stop and wait for the end."""
    widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=20_000)
