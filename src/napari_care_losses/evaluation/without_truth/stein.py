"""The error of a restoration without a ground truth, by Stein's unbiased risk estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.model import NoiseModel

_STEP = 0.1


class Probe(NamedTuple):
    r"""What estimates the mean squared error of any restoration of one image.

    For a restoration :math:`f` of :math:`y`, whose noise has the covariance :math:`C`,

    .. math::
        \frac{1}{N} \sum (f(y) - y)^2 - \frac{1}{N} \operatorname{tr} C + \frac{2}{N} \operatorname{tr}(C f'(y))

    is right on average. The trace is taken from a second restoration, of the image changed by a tenth of its noise at
    random (Ramani, Blu, Unser 2008, doi:10.1109/TIP.2008.2001404).
    """

    image: NDArray[np.float64]
    """The image (Y, X)."""
    changed: NDArray[np.float64]
    """The image to restore beside it."""
    weights: NDArray[np.float64]
    """What a change of the restoration counts."""
    variance: float
    """Mean variance of the noise."""

    def error(self, restored: ArrayLike, restored_changed: ArrayLike) -> float:
        """Return the estimated mean squared error, in squared grey levels of the image; chance can make it negative."""
        given = np.asarray(restored, np.float64)
        response = np.asarray(restored_changed, np.float64) - given
        left = np.square(given - self.image).mean() - self.variance
        return float(left + 2 * (self.weights * response).mean())


def probe(image: ArrayLike, noise: NoiseModel, rng: np.random.Generator) -> Probe:
    """Make the probe of an image (Y, X) whose noise is known.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from napari_care_losses.images.noise.model import NoiseModel
    >>> rng = np.random.default_rng(0)
    >>> truth = np.zeros((200, 200)) + 50
    >>> asked = probe(truth + rng.normal(0, 5, truth.shape), NoiseModel(least=25), rng)
    >>> blurred, other = (gaussian_filter(each, 1) for each in (asked.image, asked.changed))
    >>> round(asked.error(blurred, other)), round(float(np.square(blurred - truth).mean()))
    (2, 2)
    """
    given = np.asarray(image, np.float64)
    variance = noise.variance(given)
    deviation = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    signs = rng.choice((-1.0, 1.0), given.shape)
    weights = noise.covary(signs / deviation, given) / _STEP
    return Probe(given, given + _STEP * deviation * signs, weights, float(variance.mean()))
