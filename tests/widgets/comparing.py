"""A Compare widget, for the tests that need one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.widgets.compare import CompareWidget
from napari_care_losses.widgets.comparing import results as comparison_results

if TYPE_CHECKING:
    from collections.abc import Generator

    import pytest
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.core.comparison import Compared
    from napari_care_losses.widgets.comparing.results import ComparisonResults


class Endless:
    """Stands in for a comparison that never ends: the shown frame by every method, then steps without a frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed_in: threading.Thread | None = None
        original = comparison_results.compare

        def compare(frames, methods, *, indices, **options) -> Generator[Compared, None, None]:
            try:
                for step in original(frames, methods, indices=indices[:1], **options):
                    yield step
                while True:
                    yield step._replace(method="", frame_index=None, image=None, done=1, total=9)
            finally:
                self.closed_in = threading.current_thread()

        monkeypatch.setattr(comparison_results, "compare", compare)


def truth_of(stack: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return a truth of other grey levels."""
    return (stack.mean(axis=1, keepdims=True) * np.ones((1, stack.shape[1], 1)) * 10 + 7).astype(np.float32)


def open_compare(viewer: ViewerModel, qtbot: QtBot, *methods: str) -> CompareWidget:
    """Open the widget with some methods ticked."""
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.settings.methods.tick(methods or ("tv", "nl-means"))
    return widget


def press_compare(widget: CompareWidget, qtbot: QtBot) -> ComparisonResults:
    widget.run_bar.start_button.click()
    assert widget.is_running
    wait(widget, qtbot)
    return widget._results


def wait(widget: CompareWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not widget.is_busy and not widget.view.is_drawing, timeout=20_000)


def add_pair(viewer: ViewerModel, stack, truth, **options) -> tuple[Image, Image]:
    clean = viewer.add_image(truth, name="long", visible=False, **options)
    return viewer.add_image(stack, name="short", **options), clean
