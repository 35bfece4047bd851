"""Notes on the shown frame: why the model does not match it, and which of its grey levels become 0 and 1."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import CareError
from napari_care_losses.images.usable_pixels import usable_frame
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.match import reasons
from napari_care_losses.widgets.background.imports import load_torch
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges

TITLE = "This model does not match this image"
ADVICE = "What it restores may be wrong: choose a model trained on images like yours, or train one."
HELP = (
    "The shown frame is compared with what the model stores of its training images: noise, grey levels and detail. "
    "The comparison can be wrong, above all where a frame is nearly empty."
)

MEANING = {
    "frame": "Right for separate fields; a movie may flicker.",
    "stack": "No flicker; worse at the end of a movie that bleaches.",
    "bleaching": "No flicker; follows the bleaching, which stays visible in the result.",
}
"""By `RestorationParameters.normalization` but auto, for stacks."""

RESCALES = (
    "This model changes the brightness: grey levels cannot be compared between images. They can with the low band "
    "from the input."
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
        """Compare frame `index` of a stack with the training images of a model; without both there is no note."""
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
        if known is None or known.data is not frames.data:
            return False
        return (known.axes, known.start, known.stop) == (frames.axes, frames.start, frames.stop)

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


def _measurements(frames: Frames, index: int) -> Iterator[tuple[Frames, int, ImageStatistics | None]]:
    try:
        statistics = measure(frames[index])
    except CareError:
        # restoring the frame says what is wrong with it
        statistics = None
    yield frames, index, statistics


class RangeNote(QLabel):
    """Says which grey levels of the shown frame become 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setVisible(False)
        self._known: tuple[Any, Ranges] | None = None
        self._job = LatestJob(parent=self)
        self._job.reported.connect(self._show)

    @property
    def is_running(self) -> bool:
        """Whether a range is being estimated."""
        return self._job.is_running

    def show_range(
        self, frames: Frames | None, index: int, card: ModelCard | None, parameters: RestorationParameters
    ) -> None:
        """Estimate the range of frame `index` in the background and show it; nothing without frames or model."""
        self._job.cancel()
        if frames is None or card is None:
            self.setVisible(False)
            return
        parameters = parameters.resolved(card.normalization)
        meaning = MEANING[parameters.normalization] if len(frames) > 1 else ""
        # the data themselves: an id may be used again
        wanted = (frames.data, frames.axes, parameters, card.normalization)
        self._job.request(lambda: self._look_up(wanted, card, frames, index, meaning))

    def _look_up(self, wanted: Any, card: ModelCard, frames: Frames, index: int, meaning: str) -> Iterator[str]:
        from napari_care_losses.restoration.ranges import estimate_ranges, frames_to_sample

        _, _, parameters, normalization = wanted
        try:
            known = self._known
            if known is None or known[0][0] is not wanted[0] or known[0][1:] != wanted[1:]:
                total = frames_to_sample(frames, parameters, normalization)
                estimating = Steps(estimate_ranges(frames, parameters, normalization))
                for done in estimating:
                    yield f"Estimating the range, {done} of {total} frames…"
                known = self._known = (wanted, estimating.result)
            assert known is not None
            low, high = known[1].of(index, usable_frame(frames[index]).inside)
            which = f"Frame {index}" if len(frames) > 1 else "This image"
            if high > low:
                said = f"{which}: grey level {low:.4g} becomes 0, {high:.4g} becomes 1. {meaning}".rstrip()
                yield said
                if not _keeps_levels(card, parameters):
                    yield f"{said} {RESCALES}"
            else:
                yield f"{which} has no contrast: grey level {low:.4g} at both percentiles. Nothing to restore."
        except CareError as error:
            yield str(error)

    def _show(self, text: str) -> None:
        self.setText(text)
        self.setVisible(True)


def _keeps_levels(card: ModelCard, parameters: RestorationParameters) -> bool:
    load_torch()
    from napari_care_losses.restoration.restore_frame import keeps_levels

    return keeps_levels(card, parameters.low_band)
