"""The PSNR of restorations without a ground truth: Stein's estimate of their error, on probes that they share."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.score import Score
from napari_care_losses.images.checks import checked_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.model import NoiseModel

    Restore = Callable[[NDArray[np.float32]], ArrayLike]
    Floats = NDArray[np.float64]

PROBES = 2
SMALLEST = 64
"""Least width and height of an image, in pixels."""
# what a probe changes, relative to the noise
_STEP = 0.1
# every so many pixels along both axes are a part of a probe; the parts tell the chance in it
_PARTS = 4
_PHASES = [(y, x) for y in range(_PARTS) for x in range(_PARTS)]
# cycles a pixel from which on what was removed is taken for noise alone: the first that does not contradict it
_CUTOFFS = (0.25, 0.3, 0.35, 0.4)
_MOST_CORRELATED = 0.1
_MOST_SATURATED = 0.01
_MOST_OF_LINES = 0.01
# share of the noise of high frequency that has to be removed for it to be measured there; else the noise model says how
# much there is, with this standard deviation
_LEAST_REMOVED, _SPREAD_OF_MODEL = 0.3, 0.1
# relative standard deviation of the measured noise that chance does not explain
_SPREAD_OF_LEVEL = 0.008
# standard deviation of the differences between restorations, relative to what chance explains
_MORE_THAN_CHANCE = 1.3
# that of the noise where a restoration responds to it: how noise is spread over brightness is known no better
_SPREAD_OF_BRIGHTNESS = 0.04
# standard deviation of the error of networks, relative to their response to noise
_SPREAD_OF_RESPONSE = 0.15
# response, relative to the noise, below which a restoration does not look at the pixel itself: that says nothing
_LEAST_RESPONSE = 0.001
# of images of known error, the standard deviation that chance does not explain, relative to the error
_UNEXPLAINED = 0.12
# standard deviations between an estimate and the ends of its interval, and beyond which two values contradict
_SURE = 2.0
# standard deviations of Gaussian blurs, in pixels, from weak to strong
_BLURS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
_IMPULSE = np.zeros((33, 33))
_IMPULSE[16, 16] = 1
_DECIBELS = 10 / math.log(10)


class EstimatedPsnr(NamedTuple):
    """An estimated PSNR, and how far it is behind that of the best restoration that it was estimated with."""

    psnr: float
    """In dB."""
    uncertainty: float
    """In dB: the true one lies within it in most images."""
    behind: float = 0.0
    """How many dB the best is ahead."""
    behind_uncertainty: float = 0.0
    """In dB; smaller than that of the PSNR, because all are estimated from the same noise."""

    def interval(self, digits: int = 0) -> str:
        """Return the interval in words.

        Examples
        --------
        >>> EstimatedPsnr(33.0, 1.35).interval(), EstimatedPsnr(33.0, 1.35).interval(2)
        ('32 to 34', '31.65 to 34.35')
        """
        least, most = self.psnr - self.uncertainty, self.psnr + self.uncertainty
        return f"{least:.{digits}f} to {most:.{digits}f}"

    def scores(self) -> dict[str, float]:
        """Return PSNR and uncertainty by the names of `ESTIMATED_SCORES`."""
        return dict(zip(ESTIMATED_SCORES, (self.psnr, self.uncertainty), strict=True))


_HELP = (
    "How close an image is to the truth, estimated without one, on the part of the frame with most structure, at most "
    "256 px wide. The best method is told more surely than the PSNR of each."
)

UNCERTAINTY = "psnr_uncertainty"

ESTIMATED_SCORES: dict[str, Score] = {
    "psnr_estimated": Score(title="Estimated PSNR", unit="dB", digits=2, help=_HELP),
    UNCERTAINTY: Score(
        title="Uncertainty of the PSNR",
        unit="dB",
        digits=1,
        help="The true PSNR lies within so many decibels of the estimated one in most images.",
        higher_is_better=None,
    ),
}
"""What is estimated of a restored image without a ground truth."""


class Measured(NamedTuple):
    """What an image and its probes became in a restoration, from `PsnrEstimator.measure`."""

    restored: Floats
    """The restored image without its mean."""
    covariance: float
    """Of the restored image with the noisy one."""
    responses: Floats
    """How much of the noise is in the restored image: their covariance, from each part of each probe."""
    removed: Floats = np.zeros(0)
    """Variance of the noise from what was removed above each cutoff."""
    share: float = 0.0
    """Share of the noise of high frequency that was removed."""

    def slope(self, scale: float) -> float:
        """Return what restored levels are multiplied by to be those of the image, for `scale` times the noise."""
        return (self.covariance - scale * float(self.responses.mean())) / float(np.square(self.restored).mean())


class PsnrEstimator:
    r"""Estimates the PSNR of restorations of one noisy image, from the image alone.

    For a restoration :math:`f` of :math:`y` with independent noise of variance :math:`v` in each pixel, the mean
    squared error is estimated by

    .. math:: \overline{(f(y) - y)^2} - \bar v + 2\, \overline{v f'(y)}

    (Stein's estimate; Ramani, Blu, Unser 2008, doi:10.1109/TIP.2008.2001404). The response :math:`\overline{v f'}` is
    found by restoring the image again with a tenth of its noise added. Restored levels are first brought to those of
    the image by a straight line, whose slope is free of the noise that both share.

    The error of a good restoration is a few percent of :math:`\bar v`, which has to be known to a thousandth. So it is
    measured in what the restoration removed, at the high frequencies, where images hold hardly anything but noise. Of
    low frequencies, the noise of this image stays unknown: in a small image that is as large as the error. There, the
    response itself says more: for the mean of all images that may be behind the noisy one, the error is
    :math:`\overline{v f'}` (Miyasawa 1961), and networks come near it. Both are averaged by their uncertainties,
    unless they contradict each other.

    What is unknown is the same for all restorations of the image: the best of several is told from the others far
    better than the PSNR of each is known.

    Parameters
    ----------
    image : array_like, shape (Y, X)
        A noisy frame of at least 64 x 64 px, or a window of one.
    noise : NoiseModel
        Its noise.
    probes : int
        How often each restoration is repeated, at least once.
    seed : int
        Of the probes; the same seed gives the same estimates.

    Raises
    ------
    InputError
        If nothing can be estimated; the text says why.
    """

    def __init__(self, image: ArrayLike, noise: NoiseModel, *, probes: int = PROBES, seed: int = 0) -> None:
        self._given = checked_frame(image).astype(np.float64)
        if reason := _obstacle(self._given, noise):
            raise InputError(f"The PSNR of this image cannot be estimated: {reason}.")
        variance = noise.variance_of(self._given)
        self._level = float(variance.mean())
        # squares of uneven noise are fewer values than pixels
        self._pixels = self._given.size * self._level**2 / float(np.square(variance).mean())
        rng = np.random.default_rng(seed)
        deviation = np.sqrt(variance)
        self._noises = [deviation * rng.choice((-1.0, 1.0), variance.shape) for _ in range(probes)]
        self._power = np.sum([_high_power(noise) for noise in self._noises], axis=0)

    def measure(self, restore: Restore) -> Measured:
        """Restore the image and its probes.

        Raises `InputError` if the restored image is constant, and whatever `restore` raises.
        """
        plain = np.asarray(restore(self._given.astype(np.float32)), np.float64)
        if not plain.var():
            raise InputError("The PSNR cannot be estimated: the restored image is constant.")
        restored, given = plain - plain.mean(), self._given - self._given.mean()
        probed = [restore((self._given + _STEP * noise).astype(np.float32)) for noise in self._noises]
        changes = [(np.asarray(each, np.float64) - plain) / _STEP for each in probed]
        products = [noise * change for noise, change in zip(self._noises, changes, strict=True)]
        responses = np.array([each[y::_PARTS, x::_PARTS].mean() for each in products for y, x in _PHASES])
        found = Measured(restored, float((restored * given).mean()), responses)
        slope = found.slope(1)
        pairs = zip(self._noises, changes, strict=True)
        shares = np.sum([_high_power(noise - slope * change) for noise, change in pairs], axis=0) / self._power
        removed = _high_power(given - slope * restored) / np.maximum(shares, np.finfo(np.float64).tiny)
        return found._replace(removed=removed, share=float(shares[-1]))

    def estimates(self, measured: Sequence[Measured]) -> list[EstimatedPsnr]:
        """Return the estimate for each of some restorations; the best one is told by what they do to the same noise.

        The PSNR is relative to the range of the best restoration between its percentiles 0.1 and 99.9.
        """
        best = self.best(measured)
        level, spread = self._noise_of(best)
        scale = level / self._level
        errors = [self._error(each, scale) for each in measured]
        best = measured[int(np.argmin(errors))]
        response = scale * best.slope(scale) * float(best.responses.mean())
        if response < _LEAST_RESPONSE * level:
            response = 0.0
        spread = math.hypot(spread, self._spread_of_probes(scale, best))
        least, spread = _combined(min(errors) - level, spread, response)
        # in the restored image, some contrast is lost and some noise left
        contrast = (float(self._given.var()) - min(errors) + least) / float(np.square(best.restored).mean())
        span = math.sqrt(contrast) * float(np.ptp(np.percentile(best.restored, [0.1, 99.9])))
        found = []
        for each, above in zip(measured, errors, strict=True):
            error = least + (above - min(errors))
            of_difference = math.hypot(self._spread_of_difference(scale, each, best), (error - least) * spread / least)
            found.append(
                EstimatedPsnr(
                    10 * math.log10(span**2 / error),
                    _SURE * _DECIBELS * math.hypot(spread, of_difference) / error,
                    10 * math.log10(error / least),
                    _SURE * _DECIBELS * of_difference / error,
                )
            )
        return found

    def best(self, measured: Sequence[Measured]) -> Measured:
        """Return the restoration of least estimated error."""
        return min(measured, key=partial(self._error, scale=1.0))

    def plain_blur(self) -> Measured:
        """Return the Gaussian blur of least estimated error."""
        from scipy.ndimage import gaussian_filter

        given, found = self._given - self._given.mean(), []
        for sigma in _BLURS:
            blurred = gaussian_filter(given, sigma)
            # what a pixel keeps of its own noise
            kept = float(gaussian_filter(_IMPULSE, sigma).max())
            measured = Measured(
                blurred - blurred.mean(), float((blurred * given).mean()), np.array([kept * self._level])
            )
            found.append((self._error(measured, 1.0), sigma))
        return self.measure(partial(gaussian_filter, sigma=min(found)[1]))

    def _noise_of(self, best: Measured) -> tuple[float, float]:
        """Return the variance of the noise, and the standard deviation of the error that is estimated with it."""
        if best.share < _LEAST_REMOVED:
            # too little of the noise is in what was removed
            return self._level, self._level * _SPREAD_OF_MODEL
        level, cutoff = _noise_level(best.removed, self._pixels)
        response = float(best.responses.mean()) / self._level
        return level, level * math.hypot(_relative_spread(cutoff, response, self._pixels), _SPREAD_OF_LEVEL)

    def _error(self, measured: Measured, scale: float) -> float:
        """Return the estimated error plus the variance of the noise, which is the same for all restorations."""
        explained = measured.slope(scale) ** 2 * float(np.square(measured.restored).mean())
        return float(self._given.var()) - explained

    def _spread_of_probes(self, scale: float, one: Measured, other: Measured | None = None) -> float:
        """Return the standard deviation of an error, or of the difference of two, that chance in the probes makes."""
        responses = one.slope(scale) * one.responses
        if other is not None:
            responses = responses - other.slope(scale) * other.responses
        # a pixel's noise changes its neighbour as the neighbour's changes it: twice the variance of independent parts
        return 2 * scale * float(responses.std(ddof=1)) * math.sqrt(2 / responses.size)

    def _spread_of_difference(self, scale: float, one: Measured, other: Measured) -> float:
        difference = one.slope(scale) * one.restored - other.slope(scale) * other.restored
        by_noise = 2 * math.sqrt(scale * self._level * float(np.square(difference).mean()) / self._pixels)
        # the image's own noise is one more probe, which half of it makes
        by_probes = math.sqrt(1 + len(self._noises) / 2) * self._spread_of_probes(scale, one, other)
        more, less = (each.slope(scale) * float(each.responses.mean()) for each in (one, other))
        by_brightness = 2 * scale * _SPREAD_OF_BRIGHTNESS * abs(more - less)
        return math.hypot(_MORE_THAN_CHANCE * math.hypot(by_noise, by_probes), by_brightness)


def estimate_psnr(image: ArrayLike, restore: Restore, noise: NoiseModel, *, seed: int = 0) -> EstimatedPsnr:
    """Estimate the PSNR of one restoration from the noisy image alone, as `PsnrEstimator` does.

    Parameters
    ----------
    image, noise, seed
        As of `PsnrEstimator`.
    restore : callable
        Restores a frame of the image's shape; called three times.

    Returns
    -------
    EstimatedPsnr
        In dB, relative to the range of the restored image between its percentiles 0.1 and 99.9.

    Raises
    ------
    InputError
        If it cannot be estimated; the text says why.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from napari_care_losses.images.noise.model import NoiseModel
    >>> rng = np.random.default_rng(0)
    >>> truth = 1000 * gaussian_filter(rng.random((256, 256)), 6)
    >>> noisy = truth + rng.normal(0, 20, truth.shape)
    >>> estimate = estimate_psnr(noisy, lambda frame: gaussian_filter(frame, 3), NoiseModel(least=400))
    >>> error = np.square(gaussian_filter(noisy, 3) - truth).mean()
    >>> true = 10 * np.log10(np.ptp(np.percentile(truth, [0.1, 99.9])) ** 2 / error)
    >>> bool(abs(estimate.psnr - true) < 1), bool(abs(estimate.psnr - true) < estimate.uncertainty)
    (True, True)
    """
    estimator = PsnrEstimator(image, noise, seed=seed)
    return estimator.estimates([estimator.measure(restore)])[0]


def _combined(found: float, spread: float, response: float) -> tuple[float, float]:
    """Return an error and its standard deviation, from Stein's estimate and from the response to noise, if any."""
    if not response:
        return max(found, spread / 2), math.hypot(spread, _UNEXPLAINED * found)
    of_response = (_SPREAD_OF_RESPONSE * response) ** 2
    # a restoration that does not give the mean contradicts it
    beyond = (found - response) ** 2 - _SURE**2 * (spread**2 + of_response)
    of_response += max(0.0, beyond)
    weight = of_response / (of_response + spread**2)
    error = max(weight * found + (1 - weight) * response, spread / 2)
    return error, math.hypot(math.sqrt(weight) * spread, _UNEXPLAINED * error)


def _obstacle(image: Floats, noise: NoiseModel) -> str:
    """Return why the PSNR of restorations of an image cannot be estimated, or nothing."""
    if min(image.shape) < SMALLEST:
        return f"at least {SMALLEST} x {SMALLEST} px are needed, found {image.shape[1]} x {image.shape[0]}"
    variance = float(noise.variance(image).mean())
    if variance <= 0:
        return "it holds no noise"
    lags = np.array(noise.correlation)
    correlated = float(np.abs([*lags[1:2, 0], *lags[0, 1:2]]).max(initial=0))
    if correlated > _MOST_CORRELATED:
        return f"its noise is not independent: that of neighbouring pixels correlates ({correlated:.2f})"
    if noise.rows + noise.columns > _MOST_OF_LINES * variance:
        return "rows or columns have offsets of their own"
    saturated = float((image == image.max()).mean())
    if saturated > _MOST_SATURATED:
        return f"{saturated:.0%} of the pixels are saturated"
    return ""


def _high_power(image: Floats) -> Floats:
    """Return the variance that an image would have if its power from each cutoff on were that at all frequencies."""
    y, x = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None]
    radius = np.hypot(y, x)
    power = np.square(np.abs(np.fft.rfft2(image))) / image.size
    # columns that stand for their conjugates too
    both = np.where((x > 0) & (x < 0.5), 2.0, 1.0)
    return np.array([np.average(power, weights=both * (radius >= cutoff)) for cutoff in _CUTOFFS])


def _noise_level(levels: Floats, pixels: float) -> tuple[float, float]:
    """Return the variance of the noise, and the cutoff from which on it is measured, from that found from each on."""
    for level, cutoff in zip(levels.tolist(), _CUTOFFS, strict=True):
        chance = math.sqrt(2 / pixels * (1 / _above(_CUTOFFS[-1]) - 1 / _above(cutoff)))
        if level <= levels[-1] * (1 + 3 * chance):
            break
    return level, cutoff


def _above(cutoff: float) -> float:
    """Return the share of all frequencies that lie above a cutoff."""
    return 1 - math.pi * cutoff**2


def _relative_spread(cutoff: float, response: float, pixels: float) -> float:
    """Return the standard deviation of the estimated error relative to the noise, which is unknown below the cutoff."""
    below = 1 - _above(cutoff)
    return math.sqrt(2 / pixels * (below + (below - 2 * response) ** 2 / _above(cutoff)))
