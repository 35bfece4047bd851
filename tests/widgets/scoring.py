"""A score panel with its layers, for the tests that need one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.core.judging import RESTORED
from napari_care_losses.core.metrics import score
from napari_care_losses.widgets.layers import shown_index
from napari_care_losses.widgets.restoring.score_panel import ScorePanel
from napari_care_losses.widgets.results import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from pytestqt.qtbot import QtBot

FRAMES, SHAPE = 6, (6, 40, 48)
PSNR, SSIM = (RESTORED, "psnr"), (RESTORED, "ssim")


class Bench:
    """A panel, its layers, and what a widget around it does."""

    def __init__(self, viewer: ViewerModel, qtbot: QtBot, **options: Any) -> None:
        rng = np.random.default_rng(0)
        bump = np.sin(np.arange(48) / 4) * np.sin(np.arange(40) / 5)[:, None]
        self.truth_data = 100 + 50 * bump + 4 * np.arange(FRAMES)[:, None, None]
        self.input_data = rng.poisson(self.truth_data).astype(np.uint16)
        self.data = (self.truth_data + rng.normal(0, 2, SHAPE)).astype(np.float32)
        self.viewer, self.qtbot = viewer, qtbot
        self.truth = viewer.add_image(self.truth_data, name="long", visible=False, **options)
        self.source = viewer.add_image(self.input_data, name="short", **options)
        mark = {"source": self.source.unique_id, "model": "/models/mine.safetensors", "kind": "restored"}
        self.restored = viewer.add_image(self.data, name="restored", metadata={KEY: mark}, **options)
        self.uncertainty: Image | None = None
        self.done: set[int] = set()
        self.panel = ScorePanel(viewer)
        qtbot.addWidget(self.panel)
        self.scored = 0
        self.panel.scored.connect(self._count)
        viewer.dims.set_current_step(0, 0)
        viewer.dims.events.current_step.connect(self.follow)

    def _count(self) -> None:
        self.scored += 1

    def follow(self, _event: object = None) -> None:
        index = shown_index(self.source, self.viewer.dims)
        self.panel.show_frame(self.source, self.restored, index, uncertainty=self.uncertainty, done=self.done)

    def restore(self, *indices: int) -> None:
        for index in indices:
            self.done.add(index)
            self.panel.frame_done(index)
        self.follow()
        self.wait()

    def wait(self) -> None:
        panel = self.panel
        self.qtbot.waitUntil(lambda: not panel.is_busy and not panel._redrawing.isActive(), timeout=10_000)
        assert not panel.is_scoring

    def shown(self) -> dict[tuple[str, str], str]:
        return {key: label.text() for key, label in self.panel.values.items()}

    def plotted(self, row: str = RESTORED) -> np.ndarray:
        values = self.panel.plot._lines[row].getData()[1]
        return np.zeros(0) if values is None else values

    def expected(self, index: int, *, aligned: bool = True) -> dict[str, float]:
        return score(self.data[index], self.truth_data[index], aligned=aligned)


class Slow:
    """An array that notes which frames are read, and can be made to wait."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.read: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __getitem__(self, key: Any) -> np.ndarray:
        if threading.current_thread() is not threading.main_thread():
            self.read.append(int(key[0]))
            assert self.go.wait(10)
        return self.array[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array


def is_seen(widget: Any, panel: ScorePanel) -> bool:
    return widget is not None and widget.isVisibleTo(panel)
