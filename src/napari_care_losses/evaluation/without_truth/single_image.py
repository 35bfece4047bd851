"""What is measured in a single image, without a ground truth: its resolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_care_losses.evaluation.score import Score
from napari_care_losses.evaluation.without_truth import decorrelation, single_image_frc
from napari_care_losses.images.checks import real_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

SMALLEST = max(decorrelation.SMALLEST, single_image_frc.SMALLEST)
"""Least width and height of an image that is measured, in pixels."""

_ABOUT = (
    "Smaller is finer. In a restored image it is the finest detail drawn, true or not: compare it with the input's, "
    "and trust no detail much finer."
)


@dataclass(frozen=True, kw_only=True)
class SingleImageMetric(Score):
    """One entry of `SINGLE_IMAGE_METRICS`: a length in pixels, found in an image alone."""

    function: Callable[[ArrayLike], float]
    """From an image (Y, X) to the value in pixels, NaN where there is none."""
    source: str
    unit: str = "px"
    digits: int = 2
    higher_is_better: bool | None = None

    def in_micrometres(self) -> Score:
        """Return the score whose values are in micrometres."""
        return replace(self, unit="\u00b5m", digits=3)


SINGLE_IMAGE_METRICS: dict[str, SingleImageMetric] = {
    "frc_resolution": SingleImageMetric(
        title="FRC resolution",
        help="Resolution by Fourier ring correlation of two halves of the image's pixels: the finest detail that both "
        f"show. It cannot be finer than {single_image_frc.FINEST:g} px. {_ABOUT}",
        function=single_image_frc.frc_resolution,
        source="Koho et al. 2019, doi:10.1038/s41467-019-11024-z",
    ),
    "decorrelation_resolution": SingleImageMetric(
        title="Decorrelation resolution",
        help="Resolution by decorrelation analysis: the finest detail that is not noise alone. It cannot be finer than "
        f"{decorrelation.FINEST:g} px. {_ABOUT}",
        function=decorrelation.decorrelation_resolution,
        source="Descloux et al. 2019, doi:10.1038/s41592-019-0515-7",
    ),
}
"""Every metric of a single image; a new entry appears wherever there is no ground truth."""

SINGLE_IMAGE_SCORES: dict[str, Score] = {
    **{f"{name}_px": metric for name, metric in SINGLE_IMAGE_METRICS.items()},
    **{f"{name}_um": metric.in_micrometres() for name, metric in SINGLE_IMAGE_METRICS.items()},
}
"""The values of `measure_image`."""


def measure_image(image: ArrayLike, pixel_size: float | None = None) -> dict[str, float]:
    """Measure an image by every entry of `SINGLE_IMAGE_METRICS`.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        The image.
    pixel_size : float, optional
        Width of a pixel in micrometres.

    Returns
    -------
    dict of str to float
        By metric, its name followed by ``_um`` where the pixel size is known, otherwise by ``_px``; empty for images
        below 32 x 32 px.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)
    >>> rng = np.random.default_rng(0)
    >>> passed = np.fft.fft2(rng.normal(size=(256, 256))) * (np.hypot(y, x) < 0.125)
    >>> image = np.fft.ifft2(passed).real + rng.normal(0, 0.05, (256, 256))
    >>> {name: round(value, 1) for name, value in measure_image(image, 0.1).items()}
    {'frc_resolution_um': 0.7, 'decorrelation_resolution_um': 0.8}
    """
    if min(real_frame(image).shape) < SMALLEST:
        return {}
    factor, unit = (1.0, "px") if pixel_size is None else (pixel_size, "um")
    return {f"{name}_{unit}": factor * metric.function(image) for name, metric in SINGLE_IMAGE_METRICS.items()}
