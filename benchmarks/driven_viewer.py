"""A viewer that is driven as a user would, and how late it answers meanwhile."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import npe2
import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import QEvent, QEventLoop, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

import napari_care_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Image
    from numpy.typing import NDArray

PLUGIN = "napari-care-losses"
TICK_MS = 10
SLIDER_MS = 150
SECONDS = 20.0
"""How long one work is watched at most."""

WIDTH, FRAMES = 1024, 24
MOVES = 12
"""Slider moves after which the time to the first preview or to the scores is taken; the median is reported."""

PAIRS = 25

IDLE = "idle", "idle_after"
IDLE_SECONDS = 5.0

PATIENCE = 300.0


class Lateness:
    """How late a timer of 10 ms fires, by what was going on."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {}
        self._names: tuple[str, ...] = ()
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start()

    @contextmanager
    def noted(self, *names: str) -> Iterator[None]:
        """Note the lateness under these names."""
        before, self._names = self._names, names
        try:
            yield
        finally:
            self._names = before

    def summary(self) -> dict[str, float]:
        """Return 99th percentile and maximum of everything noted, in ms."""
        found = {}
        for name, late in self.of.items():
            found[f"p99_ms_{name}"] = round(float(np.percentile(late, 99)), 1)
            found[f"max_ms_{name}"] = round(max(late), 1)
            for idle in IDLE:
                if name not in IDLE and idle in self.of:
                    ratio = np.percentile(late, 99) / max(1.0, float(np.percentile(self.of[idle], 99)))
                    found[f"ratio_{name}_to_{idle}"] = round(float(ratio), 2)
        return found

    def _on_tick(self) -> None:
        now = time.perf_counter()
        late = max(0.0, 1e3 * (now - self._last) - TICK_MS)
        self._last = now
        for name in self._names:
            self.of.setdefault(name, []).append(late)


@contextmanager
def slider_moving(viewer: napari.Viewer) -> Iterator[Lateness]:
    """Move the slider back and forth; yield what notes the lateness, with that of a viewer at rest in it."""
    late, timer, last = Lateness(), QTimer(), viewer.dims.nsteps[0] - 1
    steps = itertools.cycle([*range(1, last), *range(last, -1, -1)])
    timer.setInterval(SLIDER_MS)

    def move() -> None:
        # a hand on the slider: its event alone is seen by nothing but what notices that somebody uses the viewer
        QApplication.sendEvent(viewer.window._qt_window, mouse_move())
        viewer.dims.set_current_step(0, next(steps))

    timer.timeout.connect(move)
    pause(2)
    timer.start()
    try:
        pause(1)
        with late.noted("idle"):
            pause(IDLE_SECONDS)
        yield late
        pause(1)
        with late.noted("idle_after"):
            pause(IDLE_SECONDS)
    finally:
        timer.stop()


def mouse_move() -> QMouseEvent:
    """Return the event of a mouse moved with its button pressed."""
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    return QMouseEvent(QEvent.Type.MouseMove, QPointF(-1, -1), QPointF(-1, -1), left, left, none)


def wait(is_done: Callable[[], bool], seconds: float = PATIENCE, *, must_end: bool = True) -> None:
    """Process the viewer's events until something is true or time is up."""
    loop, end = QEventLoop(), time.monotonic() + seconds
    timer = QTimer()
    timer.setInterval(5)

    def look() -> None:
        if is_done() or time.monotonic() > end:
            loop.quit()

    timer.timeout.connect(look)
    timer.start()
    loop.exec()
    if must_end and not is_done():
        raise TimeoutError("the viewer did not get there in time")


def pause(seconds: float) -> None:
    """Let the viewer live for a while."""
    wait(lambda: False, seconds, must_end=False)


def open_viewer() -> napari.Viewer:
    """Return a viewer that knows the plugin."""
    get_qapp()
    manager = npe2.PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(napari_care_losses.__file__).parent / "napari.yaml"))
    viewer = napari.Viewer(show=False)
    viewer.show()
    viewer.window.resize(1366, 768)
    return viewer


def open_widget(viewer: napari.Viewer, name: str) -> Any:
    """Return a widget of the plugin in its dock."""
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def mosaic(data: NDArray[Any], width: int, frames: int) -> NDArray[Any]:
    """Return larger frames of a sample's fields, side by side."""
    across = width // data.shape[-1]
    fields = [
        np.block(
            [[data[(row * across + column + index) % len(data)] for column in range(across)] for row in range(across)]
        )
        for index in range(frames)
    ]
    return np.stack(fields)


def larger_sample(viewer: napari.Viewer, width: int, frames: int) -> tuple[Image, Image]:
    """Return the actin sample as low and true layers of more and larger frames, and nothing else in the viewer."""
    truth, low = viewer.open_sample(PLUGIN, "actin")
    if (frames, width) != (low.data.shape[0], low.data.shape[-1]):
        for layer in (truth, low):
            layer.data = mosaic(layer.data, width, frames)
    viewer.reset_view()
    return low, truth


def add_care_model() -> str:
    """Add an untrained network of the paper's size to the library, and return its name: it costs what any does."""
    # loads torch: only in a process that does not measure its loading
    code = (
        "from dataclasses import replace\n"
        "from napari_care_losses.models.architecture import PRESETS\n"
        "from napari_care_losses.models.library import new_model_path\n"
        "from napari_care_losses.models.model import Model, ModelCard\n"
        "from napari_care_losses.models.unet import CareNetwork\n"
        "import torch\n"
        "network = CareNetwork(PRESETS['care'], torch.Generator().manual_seed(0))\n"
        "card = ModelCard(structure='actin', loss='mae', preset='care', architecture=PRESETS['care'])\n"
        "Model(card, network.state_dict()).save(new_model_path('untrained-care'))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return "untrained-care"
