"""Denoising without training: total variation and non-local means, their strength taken from the estimated noise.

Both work on the square root of the image, where the noise of photons is nearly the same in dark and bright regions.
Their strength is relative to the noise estimated there, so that one number serves images of any exposure, brightness
and type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import METRICS, align, scale_truth
from napari_care_losses.images.checks import checked_frame
from napari_care_losses.images.noise import wavelet_noise
from napari_care_losses.restoration.tiles import plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from numpy.typing import ArrayLike, NDArray

# A pedestal under the square root, as a share of the image's range: it keeps read noise near black from being stretched
# more than the noise of photons.
_PEDESTAL = 0.06
# Chambolle's iteration ends after a fixed count: scikit-image's test of convergence stops at random for some strengths,
# and a converged TV oversmooths. The noisier the image, the more iterations are best.
_TV_ITERATIONS = (12, 60)
_TV_ITERATIONS_OF_PURE_NOISE = 90
_NL_MEANS_PATCH = 7
_NL_MEANS_DISTANCE = 5
# Larger tiles save no time and take longer to cancel.
_TILE = 512


@dataclass(frozen=True)
class Baseline:
    """One entry of `BASELINES`, with the paper it comes from."""

    title: str
    source: str
    strength: float
    """Default strength relative to the estimated noise.

    The best on average over the five structures of W2S (every sixth of the frames 0-59) and of the High Low pairs.
    """
    denoiser: Callable[[NDArray[np.float64], float, float], _Denoiser]
    """From an image (Y, X) float64, the standard deviation of its noise and a strength to a denoiser of its parts."""


@dataclass(frozen=True)
class _Denoiser:
    """Denoises parts of an image; a pixel depends on those up to `margin` away, and on no other."""

    function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    margin: int
    block: int = 1


def _total_variation(image: NDArray[np.float64], noise: float, strength: float) -> _Denoiser:
    from skimage.restoration import denoise_tv_chambolle

    iterations = int(np.clip(_TV_ITERATIONS_OF_PURE_NOISE * (noise / image.std()) ** 3, *_TV_ITERATIONS))
    # every iteration takes differences to the neighbours
    return _Denoiser(
        partial(denoise_tv_chambolle, weight=strength * noise, eps=0.0, max_num_iter=iterations), iterations + 1
    )


def _nl_means(image: NDArray[np.float64], noise: float, strength: float) -> _Denoiser:
    from skimage.restoration import denoise_nl_means

    return _Denoiser(
        partial(
            denoise_nl_means,
            patch_size=_NL_MEANS_PATCH,
            patch_distance=_NL_MEANS_DISTANCE,
            h=strength * noise,
            sigma=noise,
            fast_mode=True,
        ),
        _NL_MEANS_DISTANCE + _NL_MEANS_PATCH // 2 + 1,
    )


BASELINES: dict[str, Baseline] = {
    "tv": Baseline("Total variation", "Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e", 2.2, _total_variation),
    "nl-means": Baseline("Non-local means", "Buades, Coll, Morel 2005, doi:10.1109/CVPR.2005.38", 1.4, _nl_means),
}


def restore_with(name: str, image: ArrayLike, *, strength: float | None = None) -> NDArray[np.float32]:
    """Denoise one frame by a baseline.

    Parameters
    ----------
    name : str
        A name in `BASELINES`.
    image : (Y, X) array of any real dtype
        One noisy frame.
    strength : float, optional
        Strength relative to the estimated noise, above 0; by default the entry's own.

    Returns
    -------
    (Y, X) float32
        The denoised frame in the grey levels of the input. A constant image, or one in which no noise is found, comes
        back as it is.

    Raises
    ------
    InputError
        If the name is unknown, the strength not a positive number, or the image not 2D, real and finite.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.comparison.baselines import restore_with
    >>> rng = np.random.default_rng(0)
    >>> noisy = rng.poisson(50, (64, 64))
    >>> restored = restore_with("tv", noisy)
    >>> bool(restored.std() < noisy.std() / 4)
    True
    """
    *_, restored = restore_in_steps(name, image, strength=strength)
    assert restored is not None
    return restored


def restore_in_steps(
    name: str, image: ArrayLike, *, strength: float | None = None
) -> Generator[NDArray[np.float32] | None, None, None]:
    """Denoise as `restore_with`, tile by tile; can be closed at any step.

    Yields None after every tile, then the denoised frame; it equals the frame denoised whole but for rounding.
    """
    baseline = _baseline(name)
    strength = baseline.strength if strength is None else strength
    if not 0 < strength < np.inf:
        raise InputError(f"The strength of {baseline.title} must be a number above 0, found {strength}; 1 is moderate.")
    frame = checked_frame(image)
    low, high = (float(value) for value in np.percentile(frame, [0.1, 99.9]))
    if not high > low:
        low, high = float(frame.min()), float(frame.max())
    root = np.sqrt(np.maximum((frame - low) / (high - low) + _PEDESTAL, 0)) if high > low else None
    noise = 0.0 if root is None else wavelet_noise(root)
    if root is None or noise == 0:
        yield frame.astype(np.float32)
        return
    denoiser = baseline.denoiser(root, noise, strength)
    rows, columns = root.shape
    restored = np.empty((rows, columns), np.float32)
    for tile in plan_tiles((rows, columns), denoiser, _TILE):
        denoised = np.square(np.maximum(denoiser.function(root[tile.source])[tile.inner], 0)) - _PEDESTAL
        restored[tile.target] = denoised * (high - low) + low
        yield None
    yield restored


def tune(name: str, pairs: Iterable[tuple[ArrayLike, ArrayLike]]) -> float:
    """Choose the strength with the best mean PSNR after alignment, on pairs that are not used for testing.

    Parameters
    ----------
    name : str
        A name in `BASELINES`.
    pairs : iterable of (noisy, truth)
        Frames (Y, X) of any real dtype; at least one pair.

    Returns
    -------
    float
        From a grid of nine around the default, a factor of 2**0.5 apart.

    Raises
    ------
    InputError
        If the name is unknown, there is no pair, or an image cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.comparison.baselines import tune
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat(np.repeat(rng.uniform(20, 200, (8, 8)), 8, axis=0), 8, axis=1)
    >>> round(tune("tv", [(rng.poisson(truth), truth)]), 2)
    0.78
    """
    strengths = _baseline(name).strength * 2.0 ** np.linspace(-2, 2, 9)
    total = np.zeros(len(strengths))
    count = 0
    for noisy, truth in pairs:
        target = scale_truth(truth).image
        restored = (restore_with(name, noisy, strength=float(strength)) for strength in strengths)
        total += [METRICS["psnr"].function(align(image, target), target) for image in restored]
        count += 1
    if not count:
        raise InputError("Tuning a baseline needs at least one pair of a noisy image and its ground truth, found none.")
    return float(strengths[np.argmax(total)])


def _baseline(name: str) -> Baseline:
    if name not in BASELINES:
        raise InputError(f"There is no baseline {name!r}; choose one of: {', '.join(BASELINES)}.")
    return BASELINES[name]
