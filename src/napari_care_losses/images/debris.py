"""Saturated particles of dust, far brighter than the sample: they would set the range of grey levels of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST, _LARGEST = 16, 40
"""Fewest saturated pixels of a particle, and its largest height and width in pixels."""

_MOST = 3
"""Most particles in a frame: of more, they may be what the image shows."""

_TIMES = 6.0
"""How many times as far above the dark level as the rest of the frame reaches that particles lie."""

_DARK, _BRIGHT = 2.0, 99.8
"""Percentiles that the rest of the frame reaches from and to."""

# pixels around a particle that its blur brightens
_RIM = 4
# blocks whose means tell structure from noise, and by how much their variance must exceed that of noise
_BLOCK, _STRUCTURE = 4, 2.0
# least share of the box around a particle that it fills: a disc fills 0.79
_LEAST_FILLED = 0.5


def debris(frame: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where a frame (Y, X) of finite pixels shows saturated debris and its rim; None where it shows none.

    Debris is one compact particle or a few, each a plateau at the frame's largest level, many times as bright as all
    that the rest of the frame shows. Where the sample itself reaches a share of that level, or the rest shows no
    structure, nothing is called debris.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frame = rng.poisson(np.tile(np.linspace(20, 60, 200), (200, 1)))
    >>> debris(frame) is None
    True
    >>> frame[50:62, 80:92] = 4095
    >>> int(debris(frame).sum())
    400
    """
    most = frame.max()
    plateau = frame == most
    count = int(np.count_nonzero(plateau))
    if not _SMALLEST <= count <= _MOST * _LARGEST**2:
        return None
    # loaded where it is needed: it takes part of a second
    from scipy import ndimage

    labels, found = ndimage.label(plateau)
    if found > 20 * _MOST:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    particles = [
        box
        for box, size in zip(ndimage.find_objects(labels), sizes.tolist(), strict=True)
        if size >= _SMALLEST and _is_compact(box, size)
    ]
    if not 1 <= len(particles) <= _MOST:
        return None
    hidden = ndimage.binary_dilation(plateau, np.ones((3, 3)), iterations=_RIM)
    dark, bright = np.percentile(frame[~hidden].astype(np.float64), [_DARK, _BRIGHT])
    is_far_brighter = float(most) - float(dark) > _TIMES * float(bright - dark) > 0
    return hidden if is_far_brighter and _has_structure(frame, hidden) else None


def _is_compact(box: tuple[slice, slice], size: int) -> bool:
    height, width = (side.stop - side.start for side in box)
    return bool(max(height, width) <= _LARGEST and size >= _LEAST_FILLED * height * width)


def _has_structure(frame: NDArray[Any], hidden: NDArray[np.bool_]) -> bool:
    """Return whether the rest of a frame shows more than noise: without it, particles are all there is to see."""
    from napari_care_losses.images.noise.estimate import estimate_noise

    rest = np.where(hidden, np.nan, frame.astype(np.float64))
    height, width = (size // _BLOCK * _BLOCK for size in frame.shape)
    means = rest[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean((1, 3))
    noise = estimate_noise(rest)
    expected = float(noise.variance(np.nanmean(rest))) * noise.correlated_pixels / _BLOCK**2
    return bool(np.nanvar(means) > _STRUCTURE * expected)
