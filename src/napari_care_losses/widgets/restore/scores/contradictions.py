"""Where the shown restoration contradicts its input: how much of the frame, and the way to the worst place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from napari_care_losses.evaluation.frame_scores import Contradicted

LEAST_SHARE = 1e-4
"""Of a frame, that is named as a number."""

HELP = (
    "How much of the shown frame the restoration changed by more than the noise of the input explains, averaged over a "
    "few pixels. Signal was removed or invented there."
)


class ContradictionLine(QWidget):
    """Says how much of the shown frame contradicts its input."""

    worst_asked = Signal(int, int)
    """Row and column of the worst place, which is to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.line = text_line(HELP)
        self.button = push_button("Go to the worst place", "Centre the viewer on the largest contradiction.", self._ask)
        self._worst: tuple[int, int] | None = None
        arrange(QVBoxLayout(self), self.line, self.button, spacing=2)
        self.show_found(None)

    def show_found(self, found: Contradicted | None) -> None:
        """Show what was found in a frame; None where nothing is known."""
        text, self._worst = "", None
        if found is not None:
            self._worst = found.worst
            text = found.reason or (
                f"Contradicts the input in {_percent(found.share)} of the frame"
                if found.worst is not None
                else "Contradicts the input nowhere"
            )
        show_text(self.line, text)
        self.button.setVisible(self._worst is not None)
        self.setVisible(bool(text))

    def _ask(self) -> None:
        if self._worst is not None:
            self.worst_asked.emit(*self._worst)


def _percent(share: float) -> str:
    if share < LEAST_SHARE:
        return f"under {100 * LEAST_SHARE:g}\N{NO-BREAK SPACE}%"
    return f"{100 * share:.2g}\N{NO-BREAK SPACE}%"
