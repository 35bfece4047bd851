"""The estimated PSNR of the shown frame, for which no ground truth is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.models.model import load_model
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.input_changes import pixels_of
from napari_care_losses.widgets.layers.restored_layers import made_with, region_of
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.layers import Image

    from napari_care_losses.evaluation.estimated_psnr import EstimatedPsnr
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.regions import Region
    from napari_care_losses.restoration.engines.treatment import Treatment
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges

DELAY_MS = 300
"""How long the slider has to rest before a frame is restored again."""

HELP = (
    "How close the restored frame is to the truth, estimated without one: from what was removed, and from restoring "
    "the part of the frame with most structure, at most 512 px wide, again with a little noise added. In most "
    "images the true PSNR of that part lies in the interval. A detail that was invented or lost hardly changes it."
)


class _Wanted(NamedTuple):
    """What is to be estimated."""

    restored: Image
    frames: Frames
    index: int
    path: Path
    parameters: RestorationParameters
    region: Region | None

    @property
    def made(self) -> tuple[Any, ...]:
        """What tells restorations apart."""
        return self.path, self.parameters, self.region


class PsnrEstimate(QWidget):
    """Says which PSNR the shown frame is estimated to have, or why that cannot be told."""

    def __init__(self) -> None:
        super().__init__()
        self.line = text_line(HELP)
        arrange(QVBoxLayout(self), self.line, spacing=0)
        self._wanted: _Wanted | None = None
        self._asked: _Wanted | None = None
        self._known: WeakKeyDictionary[Image, tuple[Any, Any, dict[int, str]]] = WeakKeyDictionary()
        """Of a restored layer: pixels of its input, what made it, and the text of each frame."""
        self._stack: tuple[Any, Any, Ranges, Treatment] | None = None
        """Pixels of the input, what made the restored layer, ranges, and what was done about the noise."""
        self._job = LatestJob(parent=self, delay_ms=DELAY_MS, uses_torch=True)
        self._job.reported.connect(self._on_reported)
        self.setVisible(False)

    @property
    def is_running(self) -> bool:
        """Whether an estimate is being made."""
        return self._job.is_running

    def show_frame(self, source: Image | None, restored: Image | None, index: int | None) -> None:
        """Show the estimate for a restored frame if it is known; None for no frame."""
        if source is None:
            # nothing keeps the pixels of a layer that is gone
            self._known.clear()
            self._stack = None
        self._wanted = None if index is None else _wanted(source, restored, index)
        if self._wanted is None:
            self._job.cancel()
            self._asked = None
            self._show("")
            return
        text = self._texts(self._wanted).get(self._wanted.index)
        # greyed until the new text comes, so that nothing below moves
        self.line.setEnabled(text is not None)
        if text is not None:
            self._show(text)

    def estimate(self) -> None:
        """Make the estimate for the frame in the background, unless it is known or being made."""
        wanted = self._wanted
        if wanted is None or wanted.index in self._texts(wanted):
            return
        if self.is_running and self._asked is not None and _is_same(self._asked, wanted):
            return
        self._asked = wanted
        self._job.request(lambda: self._estimated(wanted))

    def stop(self) -> None:
        """Stop for good."""
        self._wanted = None
        self._job.cancel()

    def _texts(self, wanted: _Wanted) -> dict[int, str]:
        pixels, known = pixels_of(wanted.frames.data), self._known.get(wanted.restored)
        if known is None or known[0] is not pixels or known[1] != wanted.made:
            known = self._known[wanted.restored] = (pixels, wanted.made, {})
        return known[2]

    def _estimated(self, wanted: _Wanted) -> Iterator[tuple[_Wanted, str] | None]:
        # imported here, in the background: torch takes seconds
        from napari_care_losses.compute.steps import Steps
        from napari_care_losses.restoration.correlated_noise import choose_treatment
        from napari_care_losses.restoration.ranges import estimate_ranges
        from napari_care_losses.restoration.window_psnr import estimate_window_psnr

        frames, parameters, pixels = wanted.frames, wanted.parameters, pixels_of(wanted.frames.data)
        try:
            model = load_model(wanted.path)
            stack = self._stack
            if stack is None or stack[0] is not pixels or stack[1] != wanted.made:
                treatment = choose_treatment(frames, model.card, parameters)
                sampling = Steps(estimate_ranges(frames, parameters, model.card.normalization))
                for _ in sampling:
                    yield None
                stack = self._stack = pixels, wanted.made, sampling.result, treatment
            found = estimate_window_psnr(frames, wanted.index, model, parameters, *stack[2:], region=wanted.region)
            yield wanted, _text(found)
        except CareError as error:
            yield wanted, str(error)

    def _on_reported(self, report: tuple[_Wanted, str] | None) -> None:
        if report is None:
            return
        made, text = report
        self._texts(made)[made.index] = text
        if self._wanted is not None and _is_same(self._wanted, made):
            self.line.setEnabled(True)
            self._show(text)

    def _show(self, text: str) -> None:
        show_text(self.line, text)
        self.setVisible(bool(text))


def _text(found: EstimatedPsnr) -> str:
    return f"PSNR about {found.psnr:.0f}\N{NO-BREAK SPACE}dB (estimated, {found.interval()})"


def _wanted(source: Image | None, restored: Image | None, index: int) -> _Wanted | None:
    """Return what is to be estimated; None where it is not known what made the layer."""
    made = None if source is None or restored is None else made_with(restored, source)
    if source is None or restored is None or made is None:
        return None
    try:
        return _Wanted(restored, layer_frames(source), index, *made, region_of(restored))
    except InputError:
        return None


def _is_same(one: _Wanted, other: _Wanted) -> bool:
    is_of_one_layer = one.restored is other.restored and one.index == other.index and one.made == other.made
    return is_of_one_layer and pixels_of(one.frames.data) is pixels_of(other.frames.data)
