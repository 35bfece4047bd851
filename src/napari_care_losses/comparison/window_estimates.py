"""The PSNR that each method of a comparison is estimated to give, on one window of each frame."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from napari_care_losses.comparison.baselines import fit
from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import CareError
from napari_care_losses.images.noise.shared import measure_frames
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.restoration.correlated_noise import treatment_of
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.window_psnr import SMALL_WINDOW, PsnrWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr, Measured
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.noise.shared import SharedNoise
    from napari_care_losses.images.normalization import Normalization
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges


class WindowEstimates:
    """Estimates the PSNR of the methods of a comparison, frame by frame.

    All restore the same window of at most 256 px, where the frame has most structure, and the same probe; so does the
    input, which stays as it is.

    Parameters
    ----------
    frames : Frames
        The noisy stack.
    parameters : RestorationParameters
        How its frames are repaired.
    """

    def __init__(self, frames: Frames, parameters: RestorationParameters) -> None:
        self._frames, self._parameters = frames, parameters
        self._methods: list[Callable[[PsnrWindow], Measured]] = []
        self._ranges: dict[tuple[RestorationParameters, Normalization], Ranges] = {}

    def add_baseline(self, name: str, strength: float) -> None:
        """Add a baseline as the next method."""
        self._methods.append(
            lambda window: window.estimator.measure(fit(name, window.image, strength=strength).restore)
        )

    def add_model(self, path: Path, parameters: RestorationParameters) -> None:
        """Add a model as the next method."""
        self._methods.append(partial(self._measured, path, parameters))

    def frame(self, index: int) -> Generator[None, None, list[EstimatedPsnr]]:
        """Estimate the PSNR of the input and of each method, in their order; yields after each.

        Raises
        ------
        CareError
            If it cannot be estimated; the text says why.
        """
        ranges = self._ranges_for(self._parameters, PercentileNormalization())
        window = PsnrWindow(self._frames, index, self._parameters, ranges, size=SMALL_WINDOW, probes=1)
        measured = [window.estimator.measure(lambda image: image)]
        for measure in self._methods:
            yield
            measured.append(measure(window))
        return window.estimator.estimates(measured)

    def _measured(self, path: Path, parameters: RestorationParameters, window: PsnrWindow) -> Measured:
        from napari_care_losses.models.model import load_model

        model = load_model(path)
        ranges = self._ranges_for(parameters, model.card.normalization)
        return window.measure(model, parameters, ranges, treatment_of(self._noise, model.card, parameters))

    @cached_property
    def _noise(self) -> SharedNoise | None:
        return measure_frames(self._frames)

    def _ranges_for(self, parameters: RestorationParameters, normalization: Normalization) -> Ranges:
        key = parameters, normalization
        if key not in self._ranges:
            self._ranges[key] = finish(estimate_ranges(self._frames, parameters, normalization))
        return self._ranges[key]


def scores_or_reason(
    estimates: WindowEstimates, index: int
) -> Generator[None, None, tuple[list[dict[str, float]], str]]:
    """Return the estimated scores of the input and each method, and why there are none; yields as `frame` does."""
    try:
        found = yield from estimates.frame(index)
    except CareError as error:
        return [], str(error)
    return [each.scores() for each in found], ""
