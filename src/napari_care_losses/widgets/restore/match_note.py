"""A note under the model: why it does not match the shown frame."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel

from napari_care_losses.errors import CareError
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.match import reasons
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.library import LibraryEntry

TITLE = "This model does not match this image"
ADVICE = "What it restores may be wrong: choose a model trained on images like yours, or train one."
HELP = (
    "The shown frame is compared with what the model stores of its training images: noise, grey levels and detail. "
    "The comparison can be wrong, above all where a frame is nearly empty."
)

# Orange stands out on dark and light alike; the text keeps the theme's own colour.
_STYLE = "MatchNote { border-left: 4px solid #e08a00; padding-left: 6px; }"


class MatchNote(QLabel):
    """Says why a model does not match the shown frame; takes no room where it does, or where that is not known.

    Frames are measured once, in the background.
    """

    measured = Signal(object)
    """The `ImageStatistics` of the first frame of a stack that was measured."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []
        self._frames: Frames | None = None
        self._index = 0
        self._entry: LibraryEntry | None = None
        self._measured: dict[int, ImageStatistics | None] = {}
        self._measuring = LatestJob(parent=self)
        self._measuring.reported.connect(self._on_measured)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setStyleSheet(_STYLE)
        self.setToolTip(tooltip(HELP))
        self.setVisible(False)

    @property
    def is_checking(self) -> bool:
        """Whether a frame is being measured."""
        return self._measuring.is_running

    def check(self, frames: Frames | None, index: int, entry: LibraryEntry | None) -> None:
        """Compare frame `index` with the training images of a model.

        Parameters
        ----------
        frames : Frames, optional
            The stack of the frame; without one there is no note.
        index : int
            Number of the shown frame.
        entry : LibraryEntry, optional
            The model; one that stores nothing on its training images has no note.
        """
        if frames is None or not self._is_known(frames):
            self._measured = {}
            self._show([])
        if entry is None or self._entry is None or entry.path != self._entry.path:
            self._show([])
        self._frames, self._index, self._entry = frames, index, entry
        self._measuring.cancel()
        if frames is None or entry is None or not entry.card.statistics:
            self._show([])
        elif index in self._measured:
            self._compare()
        else:
            self._measuring.request(lambda: _measurements(frames, index))

    def _is_known(self, frames: Frames) -> bool:
        """Return whether these are the frames that were measured; a layer's are new objects in every check."""
        known = self._frames
        return known is not None and (known.data is frames.data) and _place(known) == _place(frames)

    def _on_measured(self, result: tuple[Frames, int, ImageStatistics | None]) -> None:
        frames, index, statistics = result
        if self._is_known(frames):
            is_first = not any(self._measured.values())
            self._measured[index] = statistics
            if is_first and statistics is not None:
                self.measured.emit(statistics)
            if index == self._index:
                self._compare()

    def _compare(self) -> None:
        statistics = self._measured[self._index]
        stored = {} if self._entry is None else self._entry.card.statistics
        self._show([] if statistics is None else reasons(stored, [statistics]))

    def _show(self, found: Sequence[str]) -> None:
        if list(found) == self.reasons:
            return
        self.reasons = list(found)
        self.setText(note(self.reasons))
        self.setToolTip(tooltip("<br>".join([*map(escape, self.reasons[1:]), HELP])))
        self.setVisible(bool(self.reasons))


def note(found: Sequence[str]) -> str:
    """Return the first reason as rich text: all of them would move the settings below at every step of the slider."""
    return "<br>".join([f"<b>{TITLE}</b>", escape(found[0]), f"<i>{ADVICE}</i>"]) if found else ""


def _place(frames: Frames) -> tuple[str, int, int | None]:
    return frames.axes, frames.start, frames.stop


def _measurements(frames: Frames, index: int) -> Iterator[tuple[Frames, int, ImageStatistics | None]]:
    try:
        statistics = measure(frames[index])
    except CareError:
        # restoring the frame says what is wrong with it
        statistics = None
    yield frames, index, statistics
