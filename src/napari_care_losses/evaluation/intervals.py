"""Intervals that hold the true value of a restored pixel, calibrated on images that were not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)
"""Shares of the true values that intervals are calibrated to hold."""

USUAL_LEVEL = 0.9

KNOTS, PIXELS_A_KNOT = 16, 500
"""At most so many brightnesses have a width of their own, each with so many pixels at least."""

_DIGITS = 6


class ValidationPixels(NamedTuple):
    """Pixels of one image that was not trained on, in the normalised units of the network; arrays of equal shape."""

    restored: NDArray[np.floating[Any]]
    truth: NDArray[np.floating[Any]]
    scale: NDArray[np.floating[Any]] | None = None
    """The Laplace scale of every pixel; None for models without one."""


@dataclass(frozen=True, kw_only=True)
class Intervals:
    r"""How far the true value of a restored pixel may lie from the restored one, by split conformal prediction.

    An interval reaches from :math:`\mu - k s` to :math:`\mu + k s`. Of models with a Laplace scale, :math:`s` is that
    scale and :math:`k` one number for each level. Of others, :math:`s` is 1 and :math:`k` depends on the restored
    brightness :math:`\mu`. Both are in the normalised units of the network.

    Attributes
    ----------
    levels : tuple of float
        The shares of the true values that intervals hold.
    brightness : tuple of float
        The restored values, ascending, whose factors are known; between them they lie on straight lines. One where the
        factors are the same for all.
    factors : tuple of tuple of float
        For each level the factor at each brightness.
    images : int
        Number of images that they were calibrated on.
    spread : tuple of float
        For each level the standard deviation of the share that was held, from one of these images to the next, each
        by the factors of the others; empty where there are fewer than three.
    uses_scale : bool
        Whether the factors are those of the Laplace scale.
    are_simulated : bool
        Whether the images were simulated.

    Examples
    --------
    >>> laplace = Intervals(levels=(0.5, 0.9), brightness=(0.0,), factors=((0.7,), (2.0,)), images=9, uses_scale=True)
    >>> laplace.half_width(0.9, [0.1, 0.8], [0.01, 0.02]).round(3).tolist()
    [0.02, 0.04]
    >>> Intervals.from_dict(laplace.to_dict()) == laplace
    True
    """

    levels: tuple[float, ...]
    brightness: tuple[float, ...]
    factors: tuple[tuple[float, ...], ...]
    images: int
    spread: tuple[float, ...] = ()
    uses_scale: bool = False
    are_simulated: bool = False

    def __post_init__(self) -> None:
        numbers = [*self.levels, *self.brightness, *self.spread, *(each for row in self.factors for each in row)]
        fits = (
            self.levels
            and self.brightness
            and all(0 < level < 1 for level in self.levels)
            and all(math.isfinite(number) for number in numbers)
            and len(self.factors) == len(self.levels)
            and len(self.spread) in (0, len(self.levels))
            and all(len(row) == len(self.brightness) and min(row) >= 0 for row in self.factors)
            and all(lower < upper for lower, upper in zip(self.brightness, self.brightness[1:], strict=False))
            and self.images > 0
        )
        if not fits:
            raise InputError(
                "Intervals need levels between 0 and 1, ascending brightnesses, a factor of at least 0 for each of "
                "both, and an image that they were calibrated on."
            )

    def half_width(
        self, level: float, restored: ArrayLike, scale: ArrayLike | None = None
    ) -> NDArray[np.floating[Any]]:
        """Return how far an interval reaches to both sides, for restored pixels and their scale, in normalised units.

        Raises
        ------
        InputError
            If the level was not calibrated, or there is no scale where it is used.
        """
        self.check(level)
        factors = self.factors[self.levels.index(level)]
        values = np.asarray(restored)
        widths: NDArray[np.floating[Any]] = np.interp(values, self.brightness, factors).astype(values.dtype)
        if self.uses_scale:
            if scale is None:
                raise InputError("These intervals are made of the Laplace scale, which is missing.")
            widths = widths * np.asarray(scale)
        return widths

    def check(self, level: float) -> None:
        """Raise `InputError` if a level was not calibrated."""
        if level not in self.levels:
            known = ", ".join(f"{100 * each:g}" for each in self.levels)
            raise InputError(f"The model's intervals hold {known} % of the true values, not {100 * level:g} %.")

    def describe(self) -> str:
        """Return in a sentence what they were calibrated on, and how far the share varies from image to image."""
        which = "simulated" if self.are_simulated else "validation"
        text = f"Calibrated on {self.images} {which} image{'s' if self.images > 1 else ''}"
        if not self.spread:
            return f"{text}: how far the share varies from image to image is not known."
        spread = self.spread[min(range(len(self.levels)), key=lambda place: abs(self.levels[place] - USUAL_LEVEL))]
        return f"{text}; the share varies from image to image by {100 * spread:.0f} % (standard deviation)."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Intervals:
        """Return the intervals that plain values describe; raise `InputError`, or what Python does, if they do not."""
        return cls(
            levels=tuple(map(float, values["levels"])),
            brightness=tuple(map(float, values["brightness"])),
            factors=tuple(tuple(map(float, row)) for row in values["factors"]),
            images=int(values["images"]),
            spread=tuple(map(float, values["spread"])),
            uses_scale=bool(values["uses_scale"]),
            are_simulated=bool(values["are_simulated"]),
        )


def calibrate_intervals(images: Sequence[ValidationPixels], *, are_simulated: bool = False) -> Intervals:
    r"""Find the factors with which intervals hold the true values of images that were not trained on.

    For each level, the factor is the smallest that holds the share :math:`p (n + 1) / n` of the :math:`n` pixels; every
    image counts the same. New pixels of such images are then held with the probability :math:`p` (split conformal
    prediction: Vovk, Gammerman, Shafer 2005, doi:10.1007/b106715; for images with a predicted scale, arXiv:2310.16102).
    Pixels of one image are alike: how far the share varies from image to image, `Intervals.spread` tells.

    Parameters
    ----------
    images : sequence of ValidationPixels
        All with a scale, or none.
    are_simulated : bool
        Whether the images were simulated.

    Raises
    ------
    InputError
        If there is no pixel, or some images have a scale and others have none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = []
    >>> for _ in range(5):
    ...     truth, scale = rng.random((64, 64)), 0.1 + rng.random((64, 64))
    ...     images.append(ValidationPixels(truth + 2 * scale * rng.laplace(size=truth.shape), truth, scale))
    >>> found = calibrate_intervals(images)
    >>> [round(factor) for (factor,) in found.factors]  # twice those of a Laplace distribution
    [1, 2, 3, 5, 6]
    """
    images = [each for each in images if each.restored.size]
    has_scale = {each.scale is not None for each in images}
    if len(has_scale) != 1:
        raise InputError("Intervals are calibrated on at least one image; all have a scale, or none.")
    uses_scale = has_scale.pop()
    pooled = _Pooled.of(images)
    brightness = np.zeros(1) if uses_scale else _knots(pooled.restored)
    factors = _factors(pooled, brightness)
    spread: list[float] = []
    if len(images) > 2:
        spread = _left_out(images, brightness).std(0, ddof=1).tolist()
    return Intervals(
        levels=LEVELS,
        brightness=_rounded(brightness),
        factors=tuple(_rounded(row) for row in factors),
        images=len(images),
        spread=_rounded(spread),
        uses_scale=uses_scale,
        are_simulated=are_simulated,
    )


class _Pooled(NamedTuple):
    """The pixels of several images: restored value, distance of the truth in scales, and what each pixel counts."""

    restored: NDArray[np.float64]
    distance: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, images: Sequence[ValidationPixels]) -> _Pooled:
        restored = [np.asarray(each.restored, np.float64).ravel() for each in images]
        distances = []
        for values, each in zip(restored, images, strict=True):
            distance = np.abs(np.asarray(each.truth, np.float64).ravel() - values)
            if each.scale is not None:
                scale = np.maximum(np.asarray(each.scale, np.float64).ravel(), np.finfo(np.float32).tiny)
                distance = distance / scale
            distances.append(distance)
        weights = [np.full(values.size, 1 / values.size) for values in restored]
        return cls(np.concatenate(restored), np.concatenate(distances), np.concatenate(weights))


def _knots(restored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return brightnesses around which there are as many pixels each."""
    count = max(1, min(KNOTS, restored.size // PIXELS_A_KNOT))
    return np.unique(np.quantile(restored, (np.arange(count) + 0.5) / count))


def _factors(pooled: _Pooled, brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor of each level at each brightness (levels, brightnesses), from the pixels nearest to it."""
    nearest = np.searchsorted((brightness[1:] + brightness[:-1]) / 2, pooled.restored)
    rows = []
    for place in range(len(brightness)):
        chosen = nearest == place
        rows.append(_quantiles(pooled.distance[chosen], pooled.weight[chosen]))
    # where an image that is left out held all pixels of a brightness
    known = np.isfinite(rows).all(1)
    levels = np.transpose(rows)
    return np.array([np.interp(brightness, brightness[known], row[known]) for row in levels])


def _quantiles(distance: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest distances that hold each level; NaN without pixels."""
    count = distance.size
    if not count:
        return np.full(len(LEVELS), np.nan)
    order = np.argsort(distance)
    held = np.cumsum(weight[order])
    wanted = np.minimum(1, np.array(LEVELS) * (1 + 1 / count)) * held[-1]
    # sums of weights are rounded
    places = np.searchsorted(held, wanted * (1 - 1e-12))
    found: NDArray[np.float64] = distance[order][np.minimum(places, count - 1)]
    return found


def _left_out(images: Sequence[ValidationPixels], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share that each image is held by the factors of the others (images, levels)."""
    shares = []
    for place, image in enumerate(images):
        factors = _factors(_Pooled.of([*images[:place], *images[place + 1 :]]), brightness)
        own = _Pooled.of([image])
        shares.append([(own.distance <= np.interp(own.restored, brightness, row)).mean() for row in factors])
    return np.array(shares)


def _rounded(values: ArrayLike) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in np.asarray(values).tolist())


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
