"""Denoising without training: total variation and non-local means, their strength taken from the estimated noise.

Both work on an image whose noise has the same variance in dark and bright regions (`NoiseModel.stabilize`). How much
each smooths is chosen frame by frame, so that the error that Stein's estimate gives is least; it needs the noise only,
no ground truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.least_error import least_error
from napari_care_losses.comparison.total_variation import iterates, total_variation
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import METRICS, align, scale_truth
from napari_care_losses.images.checks import checked_frame
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.restoration.tiles import plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.model import NoiseModel

# Weights of the total variation for noise of standard deviation 1, and numbers of iterations to choose from. The lower
# weight keeps the edges of uniform objects.
_TV_WEIGHTS = (1.0, 2.0)
_TV_ITERATIONS = (2, 3, 4, 6, 8, 12, 18, 27, 40, 60, 90)
_NL_MEANS_PATCH = 7
_NL_MEANS_DISTANCE = 5
# Differences of patches that count as noise, to choose from, for noise of standard deviation 1.
_NL_MEANS_STRENGTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
# Windows along each axis that a setting is chosen on.
_TV_WINDOWS, _NL_MEANS_WINDOWS = 6, 4
# Larger tiles save no time and take longer to cancel.
_TILE = 512


@dataclass(frozen=True)
class Baseline:
    """One entry of `BASELINES`, with the paper it comes from."""

    title: str
    source: str
    denoiser: Callable[[NDArray[np.float64], NoiseModel, float], _Denoiser]
    """From an image (Y, X), its noise and a strength to a denoiser of parts of the stabilised image."""


@dataclass(frozen=True)
class _Denoiser:
    """Denoises parts of a stabilised image; a pixel depends on those up to `margin` away, and on no other."""

    function: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    margin: int
    block: int = 1


def _total_variation(image: NDArray[np.float64], noise: NoiseModel, strength: float) -> _Denoiser:
    # noise that neighbours share averages out later
    scale = strength * math.sqrt(noise.correlated_pixels)

    def tried(stable: NDArray[np.float32], weight: float) -> Iterator[tuple[int, NDArray[np.floating]]]:
        steps = iterates(stable, weight)
        for last, count in pairwise((-1, *_TV_ITERATIONS)):
            yield count, next(islice(steps, count - last - 1, None))

    weights = [scale * weight for weight in _TV_WEIGHTS]
    chosen = [least_error(image, noise, _TV_WINDOWS, partial(tried, weight=weight)) for weight in weights]
    (_, iterations), weight = min(zip(chosen, weights, strict=True))
    # every iteration takes differences to the neighbours
    return _Denoiser(partial(total_variation, weight=weight, iterations=iterations), iterations + 1)


def _nl_means(image: NDArray[np.float64], noise: NoiseModel, strength: float) -> _Denoiser:
    from skimage.restoration import denoise_nl_means

    def denoised(stable: NDArray[np.float32], chosen: float) -> NDArray[np.floating]:
        restored: NDArray[np.floating] = denoise_nl_means(
            stable,
            patch_size=_NL_MEANS_PATCH,
            patch_distance=_NL_MEANS_DISTANCE,
            h=chosen * strength,
            sigma=1.0,
            fast_mode=True,
        )
        return restored

    def tried(stable: NDArray[np.float32]) -> Iterator[tuple[float, NDArray[np.floating]]]:
        for chosen in _NL_MEANS_STRENGTHS:
            yield chosen, np.array([denoised(each, chosen) for each in stable])

    _, chosen = least_error(image, noise, _NL_MEANS_WINDOWS, tried)
    return _Denoiser(partial(denoised, chosen=chosen), _NL_MEANS_DISTANCE + _NL_MEANS_PATCH // 2 + 1)


BASELINES: dict[str, Baseline] = {
    "tv": Baseline("Total variation", "Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e", _total_variation),
    "nl-means": Baseline("Non-local means", "Buades, Coll, Morel 2005, doi:10.1109/CVPR.2005.38", _nl_means),
}


def restore_with(name: str, image: ArrayLike, *, strength: float = 1.0) -> NDArray[np.float32]:
    """Denoise one frame by a baseline.

    Parameters
    ----------
    name : str
        A name in `BASELINES`.
    image : (Y, X) array of any real dtype
        One noisy frame.
    strength : float
        Strength relative to the chosen one, above 0.

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
    name: str, image: ArrayLike, *, strength: float = 1.0
) -> Generator[NDArray[np.float32] | None, None, None]:
    """Denoise as `restore_with`, tile by tile; can be closed at any step.

    Yields None after every tile, then the denoised frame; it equals the frame denoised whole but for rounding.
    """
    fitted = fit(name, image, strength=strength)
    frame = checked_frame(image)
    if fitted.denoiser is None:
        yield frame.astype(np.float32)
        return
    stable = fitted.noise.stabilize(frame).astype(np.float32)
    rows, columns = frame.shape
    restored = np.empty((rows, columns), np.float32)
    for tile in plan_tiles((rows, columns), fitted.denoiser, _TILE):
        restored[tile.target] = fitted.denoised(stable[tile.source])[tile.inner]
        yield None
    yield restored


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline as strong as it is for one frame; other images are denoised in the same way."""

    noise: NoiseModel
    """That of the frame."""
    denoiser: _Denoiser | None
    """None where no noise was found."""

    def restore(self, image: ArrayLike) -> NDArray[np.float32]:
        """Denoise an image (Y, X) whole."""
        frame = np.asarray(image, np.float64)
        if self.denoiser is None:
            return frame.astype(np.float32)
        return self.denoised(self.noise.stabilize(frame).astype(np.float32)).astype(np.float32)

    def denoised(self, stable: NDArray[np.float32]) -> NDArray[np.float64]:
        """Denoise what was stabilised, back to grey levels."""
        assert self.denoiser is not None
        return self.noise.undo_stabilize(self.denoiser.function(stable))


def fit(name: str, image: ArrayLike, *, strength: float = 1.0) -> FittedBaseline:
    """Choose how strong a baseline is for a frame; arguments and errors are those of `restore_with`."""
    baseline = _baseline(name)
    if not 0 < strength < np.inf:
        raise InputError(
            f"The strength of {baseline.title} must be a number above 0, found {strength}; 1 is the chosen one."
        )
    frame = checked_frame(image)
    noise = estimate_noise(frame)
    has_noise = float(noise.variance(frame.max())) > 0
    return FittedBaseline(noise, baseline.denoiser(frame, noise, strength) if has_noise else None)


def tune(name: str, pairs: Iterable[tuple[ArrayLike, ArrayLike]]) -> float:
    """Return the strength with the best mean PSNR after alignment, on pairs that are not used for testing.

    Parameters
    ----------
    name : str
        A name in `BASELINES`.
    pairs : iterable of (noisy, truth)
        Frames (Y, X) of any real dtype; at least one pair.

    Returns
    -------
    float
        Relative to the chosen ones, from a grid of nine, a factor of 2**0.5 apart.

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
    >>> 0.5 <= tune("tv", [(rng.poisson(truth), truth)]) <= 1
    True
    """
    _baseline(name)
    strengths = 2.0 ** np.linspace(-2, 2, 9)
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


def described_strength(strength: float) -> str:
    """Return how the strength of a baseline was chosen, for notes and reports.

    Examples
    --------
    >>> described_strength(1.0)
    'strength of least estimated error'
    >>> described_strength(1.4)
    'strength 1.4 x that of least estimated error'
    """
    times = "" if strength == 1 else f"{strength:.3g} x that "
    return f"strength {times}of least estimated error"


def _baseline(name: str) -> Baseline:
    if name not in BASELINES:
        raise InputError(f"There is no baseline {name!r}; choose one of: {', '.join(BASELINES)}.")
    return BASELINES[name]
