"""The curves of a comparison, as iterators for the background."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.line_profile import line_profile
from napari_care_losses.evaluation.spectra import averaged_rings, fourier_ring_correlation, radial_power, resolution
from napari_care_losses.widgets.compare.results import TRUTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.widgets.compare.results import ComparisonResults
    from napari_care_losses.widgets.compare.window.image_panel import Line


class PlotCurve(NamedTuple):
    """The curve of a panel in a plot."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    note: str = ""
    """Stands beside the name in the legend."""


CurveReport = PlotCurve | str
"""A curve, or why there is none."""


def profiles(
    images: Mapping[str, NDArray[np.float32]], line: Line, width: int, pixel_size: float | None
) -> Iterator[CurveReport]:
    """Yield the intensity of every image along a line; distances in micrometres if the pixel size is known."""
    start, stop = from_centres(line)
    for name, image in images.items():
        distance, intensity = line_profile(image, start, stop, width)
        yield PlotCurve(name, distance * (pixel_size or 1), intensity)


def spectra(images: Mapping[str, NDArray[np.float32]], pixel_size: float | None) -> Iterator[CurveReport]:
    """Yield the radial power of every image; frequencies in 1/um if the pixel size is known."""
    for name, image in images.items():
        frequency, power = radial_power(image)
        yield PlotCurve(name, frequency / (pixel_size or 1), power)


def correlations(results: ComparisonResults, names: Iterable[str], index: int) -> Iterator[CurveReport]:
    """Yield the averaged Fourier ring correlation of a frame's images with the truth, the resolution as note."""
    truth, pixel_size = results.image(TRUTH, index), results.plan.frames.calibration.square_pixel
    for name in names:
        if name != TRUTH:
            frequency, correlation = fourier_ring_correlation(results.image(name, index), truth)
            note = resolution_text(resolution(frequency, correlation), pixel_size)
            yield PlotCurve(name, frequency / (pixel_size or 1), averaged_rings(correlation), note)


def until_error(curves: Iterator[CurveReport]) -> Iterator[CurveReport]:
    """Yield curves, and at the first error why there are no more."""
    try:
        yield from curves
    except InputError as error:
        yield str(error)


def from_centres(line: Line) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends (y, x) of a line relative to the centre of the first pixel instead of its corner."""
    (x0, y0), (x1, y1) = line
    return (y0 - 0.5, x0 - 0.5), (y1 - 0.5, x1 - 0.5)


def resolution_text(frequency: float, pixel_size: float | None) -> str:
    """Return a resolution limit (cycles per pixel) as a length, in micrometres if the pixel size is known."""
    if not frequency > 0:
        # 0: no agreement at any scale; NaN: agreement down to the pixels
        return "unresolved" if frequency == 0 else f"< {_length(2, pixel_size)}"
    return _length(1 / frequency, pixel_size)


def _length(pixels: float, pixel_size: float | None) -> str:
    if pixel_size is None:
        return f"{pixels:.1f} px"
    micrometres = pixels * pixel_size
    digits = max(0, 2 - math.floor(math.log10(micrometres))) if micrometres > 0 else 0
    return f"{micrometres:.{min(digits, 3)}f} µm"
