"""The estimated PSNR of the shown frame, for which no ground truth is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.layers.conversion import layer_frames, pixels_of
from napari_care_losses.widgets.layers.restored_layers import made_with, region_of
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
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


MOST_FRAMES = 16
"""Largest number of frames that are estimated for the plot over time; evenly chosen."""

_STYLE = "border-left: 4px solid #e08a00; padding-left: 6px;"


class _Wanted(NamedTuple):
    """What is to be estimated."""

    layer: Image
    """The restored layer; the input where the frame is not restored yet."""
    frames: Frames
    index: int
    path: Path
    parameters: RestorationParameters
    region: Region | None

    @property
    def made(self) -> tuple[Any, ...]:
        """What tells restorations apart."""
        return self.path, self.parameters, self.region

    def is_same(self, other: _Wanted) -> bool:
        """Return whether this is of the same layer, frame, pixels and settings as another."""
        is_of_one_layer = self.layer is other.layer and self.index == other.index and self.made == other.made
        return is_of_one_layer and pixels_of(self.frames.data) is pixels_of(other.frames.data)


class _Found(NamedTuple):
    """What came of an estimate."""

    text: str
    warning: str = ""
    psnr: float = math.nan
    is_first: bool = False
    """Whether it is a quick one, which a better one follows."""


class PsnrEstimate(QWidget):
    """Says which PSNR the shown frame is estimated to have, or why that cannot be told; and warns.

    The frame need not be restored: then it is the one of the preview.
    """

    estimated = Signal()
    """An estimate has come in."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.warning = text_line(HELP), text_line()
        # orange stands out on dark and light alike; the text keeps the theme's own colour
        self.warning.setStyleSheet(_STYLE)
        arrange(QVBoxLayout(self), self.line, self.warning, spacing=6)
        self._wanted: _Wanted | None = None
        self._asked: _Wanted | None = None
        self._followed: Sequence[int] = ()
        self._known: WeakKeyDictionary[Image, tuple[Any, Any, dict[int, _Found]]] = WeakKeyDictionary()
        """Of a layer: pixels of its input, what made it, and what came of each frame."""
        self._stack: tuple[Any, Any, Ranges, Treatment] | None = None
        """Pixels of the input, what made the restored layer, ranges, and what was done about the noise."""
        self._job = LatestJob(parent=self, delay_ms=DELAY_MS, libraries=libraries)
        self._job.reported.connect(self._on_reported)
        self.setVisible(False)

    @property
    def is_running(self) -> bool:
        """Whether an estimate is being made."""
        return self._job.is_running

    def show_frame(
        self,
        source: Image | None,
        restored: Image | None,
        index: int,
        previewed: tuple[Path, RestorationParameters] | None = None,
    ) -> None:
        """Show the estimate for a frame if it is known.

        Parameters
        ----------
        source, restored : Image, optional
            The input, and the layer that the frame is restored in, if it is.
        index : int
            The frame.
        previewed : tuple, optional
            Model file and settings of the preview, for a frame that is not restored.
        """
        if source is None:
            # nothing keeps the pixels of a layer that is gone
            self._known.clear()
            self._stack = None
        self._wanted = _wanted(source, restored, index, previewed)
        if self._wanted is None:
            self._job.cancel()
            self._asked = None
            self._show(_Found(""))
            return
        found = self._results(self._wanted).get(self._wanted.index)
        # greyed until the new text comes, so that nothing below moves
        self.line.setEnabled(found is not None)
        if found is not None:
            self._show(found)

    def estimate(self) -> None:
        """Make the estimate for the frame in the background, then those that are followed, unless they are known."""
        wanted = self._next()
        if wanted is None:
            return
        if self.is_running and self._asked is not None and self._asked.is_same(wanted):
            return
        self._asked = wanted
        self._job.request(lambda: self._estimated(wanted))

    def follow(self, line: Sequence[int]) -> None:
        """Estimate restored frames of a line too, evenly chosen, once the shown one is known; none of an empty line."""
        self._followed = evenly_spaced(line, MOST_FRAMES)
        if self._followed:
            self.estimate()

    def series(self, line: Sequence[int]) -> NDArray[np.float64]:
        """Return the estimates so far of the frames of a line (N,), in dB; NaN where there is none."""
        known = {} if self._wanted is None else self._results(self._wanted)
        return np.array([known[index].psnr if index in known else math.nan for index in line])

    def stop(self) -> None:
        """Stop for good."""
        self._wanted = None
        self._job.cancel()

    def _next(self) -> _Wanted | None:
        wanted = self._wanted
        if wanted is None:
            return None
        known = self._results(wanted)
        following = (index for index in (wanted.index, *self._followed) if index not in known)
        index = next(following, None)
        return None if index is None else wanted._replace(index=index)

    def _results(self, wanted: _Wanted) -> dict[int, _Found]:
        pixels, known = pixels_of(wanted.frames.data), self._known.get(wanted.layer)
        if known is None or known[0] is not pixels or known[1] != wanted.made:
            known = self._known[wanted.layer] = (pixels, wanted.made, {})
        return known[2]

    def _estimated(self, wanted: _Wanted) -> Iterator[tuple[_Wanted, _Found] | None]:
        # imported here, in the background: opening the widget need not wait for it
        from napari_care_losses.compute.steps import Steps
        from napari_care_losses.restoration.correlated_noise import choose_treatment
        from napari_care_losses.restoration.ranges import estimate_ranges
        from napari_care_losses.restoration.window_psnr import SMALL_WINDOW, estimate_window_psnr

        frames, parameters, pixels = wanted.frames, wanted.parameters, pixels_of(wanted.frames.data)
        warning = ""
        try:
            model = load_model(wanted.path)
            stack = self._stack
            if stack is None or stack[0] is not pixels or stack[1] != wanted.made:
                treatment = choose_treatment(frames, model.card, parameters)
                sampling = Steps(estimate_ranges(frames, parameters, model.card.normalization))
                for _ in sampling:
                    yield None
                stack = self._stack = pixels, wanted.made, sampling.result, treatment
            warning = stack[3].note
            is_awaited = self._wanted is not None and self._wanted.is_same(wanted)
            if is_awaited and max(frames.frame_shape) > SMALL_WINDOW:
                # a sixth of the work, for the one who waits
                first = estimate_window_psnr(
                    frames,
                    wanted.index,
                    model,
                    parameters,
                    *stack[2:],
                    region=wanted.region,
                    size=SMALL_WINDOW,
                    probes=1,
                )
                yield wanted, _Found(_text(first), warning, first.psnr, is_first=True)
            found = estimate_window_psnr(frames, wanted.index, model, parameters, *stack[2:], region=wanted.region)
            yield wanted, _Found(_text(found), f"{warning} {_blur_text(found)}".strip(), found.psnr)
        except CareError as error:
            yield wanted, _Found(str(error), warning)

    def _on_reported(self, report: tuple[_Wanted, _Found] | None) -> None:
        if report is None:
            return
        made, found = report
        if found.is_first:
            if self._wanted is not None and self._wanted.is_same(made):
                self.line.setEnabled(True)
                self._show(found)
            return
        self._results(made)[made.index] = found
        if self._wanted is not None and self._wanted.is_same(made):
            self.line.setEnabled(True)
            self._show(found)
        self.estimated.emit()
        self.estimate()

    def _show(self, found: _Found) -> None:
        show_text(self.line, found.text)
        show_text(self.warning, found.warning)
        self.setVisible(bool(found.text))


def _text(found: EstimatedPsnr) -> str:
    return f"PSNR about {found.psnr:.0f}\N{NO-BREAK SPACE}dB (estimated, {found.interval()})"


def _blur_text(found: EstimatedPsnr) -> str:
    """Return that a blur is better, where that is sure."""
    if found.behind <= found.behind_uncertainty:
        return ""
    gap = f"{found.behind:.1f}\N{NO-BREAK SPACE}dB"
    return f"A plain blur is probably closer to the truth, by {gap}: try another model."


def _wanted(
    source: Image | None, restored: Image | None, index: int, previewed: tuple[Path, RestorationParameters] | None
) -> _Wanted | None:
    """Return what is to be estimated; None where it is not known what made the layer."""
    if source is None:
        return None
    made = previewed if restored is None else made_with(restored, source)
    if made is None:
        return None
    try:
        return _Wanted(
            source if restored is None else restored, layer_frames(source), index, *made, region_of(restored)
        )
    except InputError:
        return None
