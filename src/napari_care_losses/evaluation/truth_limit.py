"""How well an image could be restored at best by a ground truth: the two may differ in more than noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.evaluation.metrics import scale_truth
from napari_care_losses.evaluation.score import Score
from napari_care_losses.evaluation.structural_similarity import SMALLEST
from napari_care_losses.images.checks import checked_pair
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NoiseModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SIGMA = 2.0
"""Standard deviation in pixels of the Gaussian without which both images are compared: little noise is left."""

MUCH = 0.5
"""Share of a squared error from which on it says more about the ground truth than about the restoration."""

TRUTH_LIMIT_SCORES: dict[str, Score] = {
    "psnr_limit": Score(
        title="PSNR of a noiseless input",
        unit="dB",
        digits=2,
        help="What the input would have without any noise. It is low where the ground truth shows something else, such "
        "as other brightness, haze or a moved sample, or has noise of its own.",
        higher_is_better=None,
    )
}
"""How `TruthLimit.psnr` is written."""

# relative standard deviation of the noise that is left after the blur
_SPREAD_OF_NOISE = 0.1
# standard deviations from which on a difference is not chance
_SURE = 3.0


class TruthLimit(NamedTuple):
    """How far a ground truth is from its input without noise."""

    psnr: float
    """PSNR of the noiseless input, in dB, at most; infinite where no difference is found and the truth has no noise."""
    differs: bool
    """Whether they differ by more than noise."""

    def share(self, psnr: float) -> float:
        """Return which share of the squared error of a restoration of this PSNR the difference would make, 0..1.

        Examples
        --------
        >>> TruthLimit(33.0, True).share(30.0)
        0.501...
        """
        return min(1.0, 10 ** ((psnr - self.psnr) / 10))


def truth_limit(image: ArrayLike, truth: ArrayLike, noise: NoiseModel | None = None) -> TruthLimit:
    r"""Return which PSNR an image would have against its ground truth, had it no noise at all.

    For :math:`y` and :math:`h`, both blurred by a Gaussian of 2 px, the least squared error of a line is

    .. math:: \mathrm{var}(h) - \frac{\mathrm{cov}(y, h)^2}{\mathrm{var}(y) - \bar v}

    where :math:`\bar v` is the variance that the noise of the image has left after the blur, a fiftieth where it is
    white (regression with errors in the variables; Fuller 1987, Measurement Error Models, section 1.2). The noise of
    the truth is added. Differences of finer detail than the blur are missed: the limit is an upper one. It does not
    bind networks that learnt the difference itself, such as haze that the truth does not have.

    Parameters
    ----------
    image, truth : (Y, X) array of any real dtype
        A noisy image and its ground truth, in grey levels of their own.
    noise : NoiseModel, optional
        The noise of the image; estimated from it by default.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, differ in shape, are smaller than 11 x 11 px, or if the truth has no
        contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> rng = np.random.default_rng(0)
    >>> truth = 100 + 2000 * gaussian_filter(rng.random((128, 128)), 4)
    >>> noisy = truth + rng.normal(0, 20, truth.shape)
    >>> truth_limit(noisy, truth).differs
    False
    >>> uneven = truth * np.linspace(0.9, 1.1, 128)
    >>> truth_limit(noisy, uneven).differs, round(truth_limit(noisy, uneven).psnr)
    (True, 16)
    """
    from scipy.ndimage import gaussian_filter

    given, clean = checked_pair(image, truth, smallest=SMALLEST)
    scaled = scale_truth(clean).image
    noise = estimate_noise(given) if noise is None else noise
    of_truth = estimate_noise(scaled)
    if noise.is_white and not of_truth.is_white:
        # one camera made both: what neighbours share in the truth alone is structure
        of_truth = NoiseModel()
    smooth, smooth_truth = (gaussian_filter(each, SIGMA) for each in (given, scaled))
    left = _left_of(noise, given)
    slope, _ = fit_line(smooth, smooth_truth)
    slope *= float(smooth.var()) / max(float(smooth.var()) - left, float(smooth.var()) / 2)
    residual = smooth_truth - slope * smooth
    by_noise = slope**2 * left + _left_of(of_truth, scaled)
    # blurred noise is as many values as its kernel leaves independent
    chance = math.sqrt(2 * 8 * math.pi * SIGMA**2 / given.size)
    difference = float(residual.var()) - by_noise
    differs = difference > _SURE * by_noise * math.hypot(chance, _SPREAD_OF_NOISE)
    error = max(difference, 0.0) + float(of_truth.variance(scaled).mean())
    return TruthLimit(-10 * math.log10(error) if error > 0 else math.inf, differs)


def _left_of(noise: NoiseModel, image: ArrayLike) -> float:
    """Return the variance that the noise of an image has after the blur."""
    lines = noise.rows + noise.columns
    own = float(noise.variance(image).mean()) - lines
    of_pixels = own * min(1.0, noise.correlated_pixels / (4 * math.pi * SIGMA**2))
    return of_pixels + lines * min(1.0, 1 / (2 * math.sqrt(math.pi) * SIGMA))
