"""The estimated PSNR of restored frames, from a window that is restored anew; models sorted by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.without_truth.estimated_psnr import PROBES, PsnrEstimator
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.neighbours import NeighbourReader, among
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.normalization import FixedLevels
from napari_care_losses.images.regions import Region
from napari_care_losses.images.usable_pixels import usable_frame
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.restoration.preview.window import COST, LARGEST_WINDOW, cost, richest_cell

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr, Measured
    from napari_care_losses.models.architecture import Tileable
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.treatment import Treatment
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges

SMALL_WINDOW = 256
"""Height and width of the window for slow networks, in pixels; for others it is `LARGEST_WINDOW`."""


class PsnrWindow:
    """The window with most structure of a noisy frame, on which restorations are judged.

    Parameters
    ----------
    frames : Frames
        The noisy stack.
    index : int
        The frame.
    parameters : RestorationParameters
        How the frame is repaired.
    ranges : Ranges
        Of the stack, from `napari_care_losses.restoration.ranges.estimate_ranges`.
    region : Region, optional
        The part of the frame to look at; by default all of it.
    size : int
        Largest height and width of the window, in pixels.
    probes : int
        How often each restoration is repeated.

    Raises
    ------
    InputError
        If nothing can be estimated; the text says why.
    """

    def __init__(
        self,
        frames: Frames,
        index: int,
        parameters: RestorationParameters,
        ranges: Ranges,
        *,
        region: Region | None = None,
        size: int = LARGEST_WINDOW,
        probes: int = PROBES,
    ) -> None:
        usable = usable_frame(frames[index], f"Frame {index}: ", parameters.repairs)
        self._frames, self._index, self._inside = frames, index, usable.inside
        part = Region(0, usable.pixels.shape[0], 0, usable.pixels.shape[1]) if region is None else region
        pixels = usable.pixels[part.slices]
        window = richest_window(pixels, size, ranges.of(index, usable.inside).high)
        if usable.outside is not None and usable.outside[part.slices][window.slices].any():
            raise InputError(
                "The PSNR of this image cannot be estimated: there are pixels without a value, or a constant border."
            )
        self.region = Region(part.y0 + window.y0, part.y0 + window.y1, part.x0 + window.x0, part.x0 + window.x1)
        """Where in the frame it lies."""
        self.image: NDArray[Any] = pixels[window.slices]
        """The window (Y, X), repaired."""
        self.estimator = PsnrEstimator(self.image, estimate_noise(self.image), probes=probes)

    def measure(
        self, model: Model, parameters: RestorationParameters, ranges: Ranges, treatment: Treatment
    ) -> Measured:
        """Restore the window and its probes as a model restores the frame, with the range of the whole frame.

        Raises `InputError` if the restored image is constant, `ComputeError` if the device fails.
        """
        return self.estimator.measure(self._restorer(model, parameters, ranges, treatment))

    def _restorer(
        self, model: Model, parameters: RestorationParameters, ranges: Ranges, treatment: Treatment
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        # imported here: only measuring needs it
        from napari_care_losses.restoration.restore_stack import restore_frames

        grey_levels = ranges.of(self._index, self._inside)
        levels = FixedLevels(low=grey_levels.low, high=grey_levels.high)
        fixed = replace(model, card=replace(model.card, normalization=levels))
        # the range is fixed and the pixels are repaired already
        as_is = replace(
            parameters,
            normalization="frame",
            low_percentile=None,
            high_percentile=None,
            replace_hot_pixels=False,
            even_lines=False,
        )

        # they are not probed: their noise is not that of the frame
        around = self._around(model, parameters)

        def restored(given: NDArray[np.float32]) -> NDArray[np.float32]:
            stack, own = Frames(among(around, given)), len(around) // 2
            *_, last = restore_frames(stack, fixed, as_is, indices=[own], treatment=treatment)
            assert last.frame is not None
            return last.frame.image

        return restored

    def _around(self, model: Model, parameters: RestorationParameters) -> list[NDArray[Any]]:
        """Return the window in the neighbouring frames that a model reads."""
        neighbours = choose_neighbours(self._frames, model.card)
        reader = NeighbourReader(self._frames, neighbours.number, neighbours.axis or "auto", parameters.repairs)
        return [image[self.region.slices] for image in reader.read(self._index).around] if neighbours.number else []


def estimate_window_psnr(
    frames: Frames,
    index: int,
    model: Model,
    parameters: RestorationParameters,
    ranges: Ranges,
    treatment: Treatment,
    *,
    region: Region | None = None,
    size: int | None = None,
    probes: int = PROBES,
) -> EstimatedPsnr:
    """Estimate the PSNR of a restored frame without a ground truth, in the window of it with most structure.

    The window is restored once more than there are probes, and blurred.

    Parameters
    ----------
    frames, index, region
        As of `PsnrWindow`.
    model, parameters
        What restores the frame.
    ranges : Ranges
        Of the stack, for the model's normalisation.
    treatment : Treatment
        What is done about its noise, from `napari_care_losses.restoration.correlated_noise.choose_treatment`.
    size : int, optional
        Largest height and width of the window, in pixels; by default 512, or 256 for a slow network.
    probes : int
        How often the restoration is repeated.

    Returns
    -------
    EstimatedPsnr
        How far it is behind, is how far it is behind a Gaussian blur.

    Raises
    ------
    InputError
        If it cannot be estimated; the text says why.
    ComputeError
        If the device fails.

    Examples
    --------
    >>> from napari_care_losses.compute.steps import finish
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.restoration.correlated_noise import choose_treatment
    >>> from napari_care_losses.restoration.parameters import RestorationParameters
    >>> from napari_care_losses.restoration.ranges import estimate_ranges
    >>> from napari_care_losses.simulation.varied_pairs import simulate_varied_pair
    >>> low, _ = simulate_varied_pair("actin", (128, 128), seed=1, most_correlation=0)
    >>> frames, model, parameters = Frames(low), load_model(find_model("fft-lite")), RestorationParameters()
    >>> ranges = finish(estimate_ranges(frames, parameters, model.card.normalization))
    >>> treatment = choose_treatment(frames, model.card, parameters)
    >>> estimated = estimate_window_psnr(frames, 0, model, parameters, ranges, treatment)
    >>> estimated.psnr > 20, estimated.behind
    (True, 0.0)
    """
    size = size or _affordable(model.card.architecture)
    window = PsnrWindow(frames, index, parameters, ranges, region=region, size=size, probes=probes)
    measured = window.measure(model, parameters, ranges, treatment)
    return window.estimator.estimates([measured, window.estimator.plain_blur()])[0]


def richest_window(frame: NDArray[Any], size: int, high: float) -> Region:
    """Return the window around the richest part of a frame, at most `size` pixels high and wide.

    `high` is that of `napari_care_losses.restoration.preview.window.richest_cell`.

    Examples
    --------
    >>> import numpy as np
    >>> frame = np.zeros((600, 200))
    >>> frame[450:460, 50:60] = 1
    >>> richest_window(frame, 256, 1.0)
    Region(y0=320, y1=576, x0=0, x1=200)
    """
    cell = richest_cell(frame, high)
    middles = (cell.y0 + cell.y1) // 2, (cell.x0 + cell.x1) // 2
    sizes = [min(size, int(extent)) for extent in frame.shape]
    y, x = (
        max(0, min(middle - one // 2, int(extent) - one))
        for middle, one, extent in zip(middles, sizes, frame.shape, strict=True)
    )
    return Region(y, y + sizes[0], x, x + sizes[1])


def _affordable(architecture: Tileable) -> int:
    return LARGEST_WINDOW if cost(architecture, LARGEST_WINDOW) <= COST else SMALL_WINDOW
