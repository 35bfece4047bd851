"""The estimated PSNR of a live image, and the lowest exposure at which it suffices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.images.frames import Frames
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import estimate_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.treatment import Treatment

CLOSE_ENOUGH = 1.1
"""Ratio of two exposures, one sufficient and one not, at which the search ends."""


class LivePsnr:
    """Estimates the PSNR that frames of one camera have after a restoration, each from that frame alone.

    What is done about noise that neighbouring pixels share is found in the first frame, and kept.

    Parameters
    ----------
    model : Model
        What restores the frames; one that reads single frames.
    parameters : RestorationParameters, optional
        How.
    """

    def __init__(self, model: Model, parameters: RestorationParameters | None = None) -> None:
        self._model, self._parameters = model, parameters or RestorationParameters()
        self._treatment: Treatment | None = None

    def estimate(self, frame: NDArray[Any]) -> EstimatedPsnr:
        """Estimate the PSNR of a frame (Y, X) once restored.

        Raises
        ------
        InputError
            If it cannot be estimated; the text says why.
        ComputeError
            If the device fails.
        """
        # imported here: only measuring needs it
        from napari_care_losses.restoration.window_psnr import estimate_window_psnr

        frames, parameters = Frames(frame), self._parameters
        if self._treatment is None:
            self._treatment = choose_treatment(frames, self._model.card, parameters)
        ranges = finish(estimate_ranges(frames, parameters, self._model.card.normalization))
        return estimate_window_psnr(frames, 0, self._model, parameters, ranges, self._treatment)


class TriedExposure(NamedTuple):
    """An exposure that was tried, in ms, and the PSNR estimated of the restored frame."""

    exposure_ms: float
    estimated: EstimatedPsnr


def lowest_exposure(
    record: Callable[[float], NDArray[Any]],
    model: Model,
    *,
    psnr: float,
    shortest_ms: float,
    longest_ms: float,
    parameters: RestorationParameters | None = None,
) -> Generator[TriedExposure, None, TriedExposure]:
    """Find the shortest exposure at which restored frames are good enough: the lowest amount of light.

    The exposure is turned down from the longest to the shortest by halving the span between them, on a logarithmic
    scale, until it is known to a tenth. One frame is recorded at each. What is found is as sure as the estimate: see
    `napari_care_losses.evaluation.without_truth.estimated_psnr`.

    Parameters
    ----------
    record : callable
        Records a frame (Y, X) at an exposure in ms, all of the same field of view.
    model, parameters
        As of `LivePsnr`.
    psnr : float
        The PSNR that suffices, in dB.
    shortest_ms, longest_ms : float
        The exposures to search between, in ms.

    Yields
    ------
    TriedExposure
        One for every frame.

    Returns
    -------
    TriedExposure
        The shortest exposure that was tried and suffices.

    Raises
    ------
    ParameterError
        If the exposures are not in order.
    InputError
        If the longest exposure does not suffice either, or nothing can be estimated.

    Examples
    --------
    >>> from napari_care_losses.compute.steps import finish
    >>> from napari_care_losses.following.camera.live_psnr import lowest_exposure
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.simulation.camera import SimulatedCamera
    >>> record, model = SimulatedCamera("actin", (128, 128), seed=1).record, load_model(find_model("fft-lite"))
    >>> found = finish(lowest_exposure(record, model, psnr=35, shortest_ms=0.5, longest_ms=50))
    >>> 0.5 <= found.exposure_ms < 10, found.estimated.psnr >= 35
    (True, True)
    """
    if not 0 < shortest_ms < longest_ms:
        raise ParameterError(
            f"Expected a shortest exposure above zero and a longer one, found {shortest_ms:g} and {longest_ms:g} ms."
        )
    live = LivePsnr(model, parameters)

    def tried(exposure_ms: float) -> TriedExposure:
        return TriedExposure(exposure_ms, live.estimate(record(exposure_ms)))

    best = tried(longest_ms)
    yield best
    if best.estimated.psnr < psnr:
        raise InputError(
            f"Even at {longest_ms:g} ms the PSNR is about {best.estimated.psnr:.1f} dB ({best.estimated.interval()}), "
            f"below the {psnr:g} dB asked for: use more light, a longer exposure, or another model."
        )
    least = tried(shortest_ms)
    yield least
    if least.estimated.psnr >= psnr:
        return least
    too_short = shortest_ms
    while best.exposure_ms / too_short > CLOSE_ENOUGH:
        middle = tried(math.sqrt(best.exposure_ms * too_short))
        yield middle
        if middle.estimated.psnr >= psnr:
            best = middle
        else:
            too_short = middle.exposure_ms
    return best
