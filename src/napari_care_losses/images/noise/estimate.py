"""Estimates the noise of images: how its variance follows brightness, and what neighbouring pixels share of it.

No ground truth is needed. The spectrum of noise is that of the flattest blocks of an image; its variance at each
brightness is taken from the frequencies that hold least structure. How far this is right: ``docs/reference/noise.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.images.checks import check_equal_shapes, has_value, real_frame
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.block_spectra import (
    BLOCK,
    COUNTS,
    IS_HIGH,
    IS_KEPT,
    IS_OF_ROWS,
    RADIUS,
    RINGS,
    ROW_ENTRIES,
    ROW_OFFSETS_ERROR,
    ROWS,
    SECTORS,
    Blocks,
    block_spectra,
    mean_power,
    normality,
    row_offsets,
    spectrum_of,
    weights_of,
)
from napari_care_losses.images.noise.model import NORMAL_MAD, NoiseModel
from napari_care_losses.images.sampling import windows_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.block_spectra import Area, FloatArray, Spectrum

LAGS = 5
"""Lags along each axis at which the correlation is estimated, 0 to 4 px."""

# white noise: the power in the sectors of high frequency differs by less than this share, and by chance
_MOST_UNEQUAL, _CHANCE = 0.1, 4.0
# share and least number of the flattest blocks, whose spectrum is the noise's; their share at each level of brightness
_FLATTEST, _FEWEST, _FLATTEST_OF_LEVEL = 0.03, 64, 0.5
# unevenness of the flattest blocks of white noise of variance 1, and power of structure at 2 cycles a block by theirs
_UNEVENNESS_OF_NOISE, _POWER_OF_UNEVENNESS = 0.002, 150.0
# correlations that are all smaller are none, and offsets of rows or columns with a smaller share of the variance
_LEAST_CORRELATION, _LEAST_OFFSETS = 0.05, 0.02
# of fewer blocks, noise is taken for white
_FEWEST_FOR_CORRELATION = 8
# Standard deviation, between flat blocks, of the logarithm of their power at these frequencies, itself and relative to
# that at high ones: that of noise is 0.4 to 0.6, as it is alike in all blocks; of structure, more. Where the power at
# the frequencies of rows or columns differs by more than that of offsets, up to 0.83, there probably is structure.
_BETWEEN_BLOCKS, _MOST_DIFFERENT, _MOST_DIFFERENT_ROWS, _MOST_DIFFERENT_BESIDE = RINGS[1:3], 0.62, 0.85, 0.55
# normality of the flat blocks below which they hold edges; that of noise is 0.62 and more, where its power at high
# frequencies is so many times the variance of the rounding to grey levels
_LEAST_NORMAL, _LEAST_ROUNDED = 0.59, 60.0
# a low quantile of the power of white noise of variance 1 in the corner of the spectra of blocks
_LEAST_SHARE, _LEAST_QUANTILE = 0.1, 0.59
# levels of brightness at which the variance is measured, and least number of blocks of one
_MOST_LEVELS, _FEWEST_IN_LEVEL = 24, 8
# blocks with so many times the usual power of their brightness hold edges or hot pixels
_MOST_POWER = 3.0
# shares of a block's pixels at the ends of the scale above which its noise is cut off; least share of blocks without
_MOST_AT_LOWEST, _MOST_AT_HIGHEST, _FEWEST_WHOLE = 0.3, 0.03, 0.2
# frequencies an area of the spectrum must have, and the least power in it relative to the largest
_FEWEST_FREQUENCIES, _LEAST_POWER = 8, 0.01
# neighbouring frequencies of a windowed block are not independent
_SHARED = 3.0
_WAVES = spectrum_of(LAGS)
_FALL: Spectrum = (2 / np.maximum(RADIUS, 1)) ** 3
_TINY = 1e-12

_PIXELS_OF_STEP = 2**16
# least share of the largest variance that a level of brightness is expected to have
_LEAST_OF_LINE = 0.003
# fits that each weigh the data anew, and bounds of the correlation of neighbours
_FITS, _NEIGHBOURS = 8, (0.04, 0.95)


class _Areas(NamedTuple):
    """Areas (A,) of the spectrum: weights of their entries, mean power of noise of variance 1, and frequencies."""

    weights: list[Spectrum]
    expected: NDArray[np.float64]
    frequencies: NDArray[np.float64]


class _Shape(NamedTuple):
    """The spectrum of noise at any brightness."""

    spectrum: Spectrum
    """Power (9, 9) of noise of variance 1."""
    correlation: NDArray[np.float64]
    """At lags along Y and X."""
    rows: float
    columns: float
    """Variance of the offsets of rows and columns."""
    constant: Spectrum
    """Power (9, 9) that does not depend on brightness: offsets and rounding."""
    areas: list[Area]
    """Parts of the spectrum that hold noise."""
    is_structured: bool
    """Whether even flat blocks hold structure at all frequencies, so that only the least powers are those of noise."""


class _Unevenness(NamedTuple):
    """How uneven flat blocks are, from which the structure follows that is left in them."""

    variance: float
    """Variance of the mean grey levels of neighbouring blocks."""
    most: float
    """Largest power of structure at 2 cycles a block, for which all that is found at some frequency is structure."""
    blocks: int

    def power(self, slow_noise: float) -> Spectrum:
        """Return the power of structure, where noise has some power at the lowest frequency.

        It falls with the third power of the frequency, as in images of cells; its size is that in confluent ones.
        """
        excess = max(0.0, self.variance - _UNEVENNESS_OF_NOISE * slow_noise)
        return max(0.0, min(_POWER_OF_UNEVENNESS * excess, self.most)) * _FALL


def estimate_noise(image: ArrayLike, truth: ArrayLike | None = None) -> NoiseModel:
    """Estimate the noise of an image, of any microscope, from the image alone or with its ground truth.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        One frame; NaN is left out. Of one of more than a million pixels, 16 windows of 256 x 256 px are looked at.
    truth : (Y, X) array of any real dtype, optional
        The same without noise, in any grey levels: what remains beside the line of least squares is noise.

    Returns
    -------
    NoiseModel
        In grey levels of the image; without any noise for a constant image.

    Raises
    ------
    InputError
        If an image is not 2D and real, or the two differ in shape.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light = np.linspace(20, 200, 256)
    >>> noise = estimate_noise(2 * rng.poisson(light, (256, 256)) + 100)
    >>> round(noise.slope, 1), noise.is_white
    (2.0, True)
    """
    frame = real_frame(image)
    windows = windows_of(frame).astype(np.float64)
    shown = windows
    if truth is not None:
        clean = real_frame(truth, "The ground truth")
        check_equal_shapes(frame, clean, "The image and its ground truth")
        clean = windows_of(clean).astype(np.float64)
        slope, intercept = fit_line(clean, windows)
        shown = slope * clean + intercept
        windows = windows - shown
    is_known = has_value(windows)
    windows[~is_known] = np.nan
    scale = float(np.nanstd(windows)) if is_known.any() else 0.0
    if not scale > 0:
        return NoiseModel()
    centre = float(np.nanmean(shown))
    scaled = ((windows - np.nanmean(windows)) / scale).astype(np.float32)
    blocks = _blocks(scaled, ((shown - centre) / scale).astype(np.float32))
    if blocks is None:
        return NoiseModel(least=_variance_of_differences(scaled) * scale**2)
    if truth is not None:
        # what remains beside a ground truth is flat everywhere
        blocks = blocks._replace(unevenness=np.zeros_like(blocks.unevenness))
    shape = _shape(blocks, scaled, _rounding(scaled))
    slope, intercept, least = _variance_line(blocks, shape)
    return NoiseModel(
        slope=slope * scale,
        intercept=intercept * scale**2 - slope * scale * centre,
        least=least * scale**2,
        correlation=tuple(tuple(row) for row in shape.correlation.tolist()),
        rows=shape.rows * scale**2,
        columns=shape.columns * scale**2,
    )


def _blocks(windows: FloatArray, shown: FloatArray) -> Blocks | None:
    """Return the blocks that hold noise and no hot pixels, or None where there is none."""
    if min(windows.shape[1:]) < BLOCK:
        return None
    blocks = block_spectra(windows, shown)
    blocks = _without_ends(blocks, 1, _MOST_AT_HIGHEST)
    if not len(blocks.brightness):
        return None
    high = mean_power(blocks.powers, IS_HIGH)
    usual = np.empty_like(high)
    for level in _levels(blocks):
        usual[level] = np.median(high[level])
    return blocks.chosen(high <= _MOST_POWER * usual)


def _without_ends(blocks: Blocks, end: int, most: float) -> Blocks:
    """Leave out blocks whose noise is cut off at an end of the scale, unless nearly all reach it: few grey levels."""
    is_whole = blocks.cut_off[:, end] <= most
    return blocks.chosen(is_whole) if np.count_nonzero(is_whole) > _FEWEST_WHOLE * len(is_whole) else blocks


def _variance_of_differences(windows: FloatArray) -> float:
    """Return the variance of white noise from the median of second differences along both axes, 0 of a single line."""
    rows = np.diff(windows, axis=1)
    differences = np.abs(np.diff(rows, axis=2))
    differences = differences[np.isfinite(differences)]
    return float(np.median(differences) / (2 * NORMAL_MAD)) ** 2 if differences.size else 0.0


def _rounding(windows: FloatArray) -> float:
    """Return the variance of the rounding to grey levels, 0 where the levels are not in steps."""
    sample = windows.ravel()[:: max(1, windows.size // _PIXELS_OF_STEP)]
    levels = np.unique(sample[np.isfinite(sample)])
    return float(np.diff(levels).min()) ** 2 / 12 if 1 < len(levels) < sample.size / 4 else 0.0


def _levels(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the indices of the blocks of each level of brightness, from dark to bright."""
    order = np.argsort(blocks.brightness, kind="stable")
    return np.array_split(order, max(1, min(_MOST_LEVELS, len(order) // _FEWEST_IN_LEVEL)))


def _flattest(blocks: Blocks, share: float, fewest: int = 1) -> Blocks:
    """Return a share of the blocks, those that differ least from the ones around them; all where none differs."""
    count = max(fewest, round(share * len(blocks.brightness)))
    order = np.argsort(blocks.unevenness / blocks.noisiness, kind="stable")
    return blocks.chosen(order[:count]) if blocks.unevenness.any() else blocks


def _shape(blocks: Blocks, windows: FloatArray, rounding: float) -> _Shape:
    blocks = _without_ends(blocks, 0, _MOST_AT_LOWEST)
    flat = _flattest(blocks, _FLATTEST, _FEWEST)
    count = len(flat.brightness)
    found = flat.powers.mean(0, dtype=np.float64)
    noise = float(mean_power(found, IS_HIGH))
    smallest = noise * max(_LEAST_OFFSETS, 3 * ROW_OFFSETS_ERROR / np.sqrt(count * COUNTS[5:, 0].sum()))
    offsets = [offset if (offset := row_offsets(each)) > smallest else 0.0 for each in (found, found.T)]
    has_lines = bool(flat.unevenness.any()) and any(
        offset and _difference(flat, IS_KEPT, area) > _MOST_DIFFERENT_ROWS
        for offset, area in zip(offsets, (IS_OF_ROWS, IS_OF_ROWS.T), strict=True)
    )
    rows, columns = (0.0, 0.0) if has_lines else offsets
    is_used = IS_KEPT.copy()
    is_used[:, :ROW_ENTRIES] &= rows == 0
    is_used[:ROW_ENTRIES] &= columns == 0
    sectors, rings = (
        [area & is_used for area in areas if (COUNTS * (area & is_used)).sum() >= _FEWEST_FREQUENCIES]
        for areas in (SECTORS, RINGS)
    )
    constant = rows * ROWS + columns * ROWS.T
    first, second = (float(mean_power(found - constant, ring)) for ring in RINGS[:2])
    # as the spectrum of a Gaussian blur falls from the lowest frequency
    slow_noise = first * min(max(first / max(second, _TINY), 1.0) ** 0.875, 2.5)
    unevenness = _Unevenness(
        float(flat.unevenness.mean(dtype=np.float64)),
        min(float(mean_power(found - constant, area) / mean_power(_FALL, area)) for area in (*sectors, *rings)),
        count,
    )
    structure = unevenness.power(slow_noise)
    most = np.array([mean_power(found - constant, sector) for sector in sectors])
    least = most - [mean_power(structure, sector) for sector in sectors]
    chance = max(np.sqrt(_SHARED / (count * COUNTS[sector].sum())) for sector in sectors)
    spectrum, correlation = np.ones_like(found), np.zeros((LAGS, LAGS))
    correlation[0, 0] = 1
    is_unequal = least.max() - most.min() > (_MOST_UNEQUAL + _CHANCE * chance) * most.mean()
    is_structured = bool(is_unequal or has_lines) and _is_structured(
        flat, windows, is_used, has_lines, noise < _LEAST_ROUNDED * rounding
    )
    if is_unequal and not is_structured and count >= _FEWEST_FOR_CORRELATION:
        constant = constant + min(rounding, noise)
        fitted, lags = _correlated(found - constant, constant, unevenness, slow_noise, is_used)
        if np.abs(lags).ravel()[1:].max() > _LEAST_CORRELATION:
            spectrum, correlation = fitted, lags
    areas = [*sectors, *rings]
    strong = [area for area in areas if mean_power(spectrum, area) > _LEAST_POWER * spectrum.max()]
    return _Shape(spectrum, correlation, rows, columns, constant, strong or areas, is_structured)


def _is_structured(flat: Blocks, windows: FloatArray, is_used: Area, has_lines: bool, is_rounded: bool) -> bool:
    """Return whether flat blocks hold edges, or powers so different that they are those of structure."""
    if not flat.unevenness.any():
        # what remains beside a ground truth is taken for noise
        return False
    most = _MOST_DIFFERENT_BESIDE if has_lines else _MOST_DIFFERENT
    has_edges = not is_rounded and bool(normality(windows, flat.places).mean() < _LEAST_NORMAL)
    return has_edges or _difference(flat, is_used, *_BETWEEN_BLOCKS) > most


def _difference(blocks: Blocks, is_used: Area, *areas: Area) -> float:
    """Return how much blocks differ in their power in areas of the spectrum, in powers of e."""
    high = mean_power(blocks.powers, IS_HIGH)
    powers = [mean_power(blocks.powers, area & is_used) for area in areas]
    return float(np.mean([np.log(power / level).std() for power in powers for level in (high, 1.0)]))


def _correlated(
    found: Spectrum, constant: Spectrum, unevenness: _Unevenness, slow_noise: float, is_used: Area
) -> tuple[Spectrum, NDArray[np.float64]]:
    """Fit the correlation of noise to the spectrum of flat blocks, in which some structure is left.

    Returns the spectrum of noise of variance 1, and its correlation at lags along Y and X. Lags at which none is
    expected, from the correlation of neighbours along each axis, are kept near 0.
    """
    waves = _WAVES[is_used].reshape(-1, LAGS * LAGS)
    lags_y, lags_x = np.divmod(np.arange(LAGS * LAGS), LAGS)
    fitted, along_y, along_x = np.maximum(found, _TINY), 0.6, 0.6
    for _ in range(_FITS):
        structure = unevenness.power(slow_noise)
        error = (fitted + constant) ** 2 / (unevenness.blocks * COUNTS) + structure**2
        error = np.sqrt(error + (0.02 * fitted) ** 2 + (0.004 * fitted.max()) ** 2)[is_used]
        expected = 1.2 * along_y**lags_y * along_x**lags_x + 0.01
        expected[0] = 1e3
        prior = np.diag(1 / (expected * mean_power(fitted, np.ones_like(is_used))) ** 2)
        weighted = waves / error[:, None]
        power = (found - structure)[is_used] / error
        covariance = np.linalg.solve(weighted.T @ weighted + prior, weighted.T @ power)
        fitted = _WAVES.reshape(*found.shape, -1) @ covariance
        fitted = np.maximum(fitted, 0.003 * fitted.max() + _TINY)
        slow_noise = float(fitted[0, 0])
        along_y, along_x = np.clip(covariance[[LAGS, 1]] / covariance[0], *_NEIGHBOURS)
    correlation: NDArray[np.float64] = (covariance / covariance[0]).reshape(LAGS, LAGS)
    return fitted / covariance[0], correlation


def _variance_line(blocks: Blocks, shape: _Shape) -> tuple[float, float, float]:
    """Return slope and intercept of variance against brightness, and the least variance."""
    rounding = float(shape.constant.min())
    areas = _Areas(
        [weights_of(area) for area in shape.areas],
        np.array([mean_power(shape.spectrum, area) for area in shape.areas]),
        np.array([COUNTS[area].sum() for area in shape.areas]),
    )
    found = []
    for level in _levels(blocks):
        flat = _flattest(blocks.chosen(level), _FLATTEST_OF_LEVEL)
        powers = flat.powers.mean(0, dtype=np.float64) - shape.constant
        brightness = float(flat.brightness.mean(dtype=np.float64))
        found.append((brightness, *_least_structured(powers, areas, len(flat.brightness), rounding)))
    levels, variances, errors = np.array(found).T
    line, weights = np.full_like(variances, np.median(variances)), np.ones_like(variances)
    for _ in range(_FITS):
        # structure adds to the variance, and the ends of the scale take from it
        expected = np.hypot(errors, 0.03) * line
        off = (variances - line) / expected
        weights = np.minimum(1, np.where(off > 0, 2, 3) / np.maximum(np.abs(off), _TINY)) ** 2 / expected**2
        slope, intercept = fit_line(levels, variances, weights)
        if slope < 0:
            slope, intercept = 0.0, float(np.average(variances, weights=weights))
        line = np.maximum(slope * levels + intercept, _LEAST_OF_LINE * variances.max())
    least = 0.8 * float(variances.min())
    if shape.is_structured:
        corner = mean_power(blocks.powers, SECTORS[-1])
        shares = corner / np.maximum(slope * blocks.brightness + intercept, least)
        share = min(1.0, float(np.quantile(shares, _LEAST_SHARE)) / _LEAST_QUANTILE)
        slope, intercept, least = share * slope, share * intercept, share * least
    return slope, intercept + rounding, least + rounding


def _least_structured(found: Spectrum, areas: _Areas, count: int, rounding: float) -> tuple[float, float]:
    """Return the variance of the noise in a spectrum, and its relative error, from the areas with least structure."""
    variances = np.array([np.einsum("yx,yx->", found, weights) for weights in areas.weights]) / areas.expected
    # of a small remainder beside the rounding, little is known
    beside = rounding / np.maximum(variances * areas.expected, 0.1 * rounding + _TINY)
    errors = np.sqrt(_SHARED / (count * areas.frequencies)) * (1 + beside)
    least = float(np.min(variances * (1 + 2 * errors)))
    is_least = (variances * (1 - 2 * errors) <= 1.03 * least) & (variances > 0)
    if not is_least.any():
        is_least = variances == variances.max()
    weights = 1 / errors[is_least] ** 2
    return max(float(np.average(variances[is_least], weights=weights)), _TINY), 1 / float(np.sqrt(weights.sum()))
