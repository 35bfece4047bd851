"""A note on the shown frame: which of its grey levels become 0 and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import CareError
from napari_care_losses.images.usable_pixels import usable_frame
from napari_care_losses.widgets.background.worker import LatestJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges

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
    from napari_care_losses.restoration.restore_frame import keeps_levels

    return keeps_levels(card, parameters.low_band)
