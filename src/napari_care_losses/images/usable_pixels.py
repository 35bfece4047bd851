"""Pixels that say nothing of the sample: without a value, of a constant border, or of a defect of the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.images.checks import finite
from napari_care_losses.images.debris import debris
from napari_care_losses.images.line_defects import evened, line_defects

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_BORDER = 64
"""Fewest pixels of a constant border; fewer at a corner are alike by chance."""

# A border is looked for where so many pixels along an edge equal the corner.
_RUN = 8
# Most corners in the outline of what stitched tiles leave free, as a share of its length.
_MOST_CORNERS = 0.05
# A hot pixel differs from its brightest neighbours but two by more than so many times their spread, and the noise.
_SPREAD, _NOISE = 4.0, 12.0
# brightest neighbours that may be hot too
_HOT_NEIGHBOURS = 2
_SAMPLED_ROWS = 64
# share of the smallest differences, which are taken for noise
_FEW = 0.95
_AROUND = [(y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (1, 1)]


class Repairs(NamedTuple):
    """What is replaced in a frame before it is restored; nothing unless asked for."""

    hot_pixels: bool = False
    """Isolated pixels far above their neighbours, by the median of these."""
    lines: bool = False
    """Dead rows and columns, and the offsets of uneven ones (`napari_care_losses.images.line_defects.evened`)."""


NO_REPAIRS = Repairs()


class UsableFrame(NamedTuple):
    """A frame (Y, X) that can be restored, and where it says nothing of the sample."""

    pixels: NDArray[Any]
    """The frame, its unusable pixels replaced: finite everywhere."""
    outside: NDArray[np.bool_] | None = None
    """Pixels without a value (NaN, infinite) or of a constant border; None if there are none."""
    is_blank: bool = False
    """Whether all pixels inside have one value, or none has one."""
    hot_pixels: int = 0
    """Number of isolated pixels far above their neighbours, or that were."""
    dead_lines: int = 0
    """Number of rows and columns far above or below their neighbours, or that were."""
    has_uneven_lines: bool = False
    """Whether rows or columns have, or had, offsets of their own."""
    repairs: Repairs = NO_REPAIRS
    """What was replaced."""
    debris: NDArray[np.bool_] | None = None
    """Saturated particles (`napari_care_losses.images.debris.debris`), which are restored as the rest."""

    @property
    def inside(self) -> NDArray[Any]:
        """The pixels that count for ranges, masked where there are none."""
        masks = [mask for mask in (self.outside, self.debris) if mask is not None]
        return np.ma.masked_array(self.pixels, np.logical_or.reduce(masks)) if masks else self.pixels


def usable_frame(frame: NDArray[Any], where: str = "", repairs: Repairs = NO_REPAIRS) -> UsableFrame:
    """Replace the pixels of a frame that say nothing of the sample.

    Pixels without a value and constant borders are those of registered, rotated and stitched images. They are
    replaced by the frame mirrored at the nearest usable pixel.

    Parameters
    ----------
    frame : array (Y, X)
        Of any real dtype.
    where : str
        Begin of the error's message.
    repairs : Repairs
        What else is replaced.

    Raises
    ------
    InputError
        If the pixels are beyond float32.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100, 5, (32, 32))
    >>> frame[:4] = np.nan
    >>> usable = usable_frame(frame)
    >>> int(usable.outside.sum()), bool((usable.pixels[:4] == frame[8:4:-1]).all())
    (128, True)
    """
    missing = ~np.isfinite(frame) if frame.dtype.kind == "f" else np.zeros(frame.shape, bool)
    present = frame[~missing] if missing.any() else frame.reshape(-1)
    if not present.size or (present == present[0]).all():
        blank = np.full_like(frame, present[0] if present.size else 0)
        return UsableFrame(finite(blank, where), missing if missing.any() else None, is_blank=True)
    outside = missing | constant_border(frame, missing)
    has_outside = bool(outside.any())
    pixels = finite(_mirrored(frame, outside) if has_outside else frame, where)
    lines = []
    for axis in (0, 1):
        lines.append(line_defects(pixels, axis))
        if repairs.lines:
            pixels = evened(pixels, axis, lines[-1])
    hot = hot_pixels(pixels)
    if repairs.hot_pixels and hot[0].size:
        around = np.median(_neighbours(pixels, hot), axis=0)
        pixels = pixels.copy()
        pixels[hot] = around
    return UsableFrame(
        pixels,
        outside if has_outside else None,
        hot_pixels=int(hot[0].size),
        dead_lines=sum(found.dead.size for found in lines),
        has_uneven_lines=any(found.offsets is not None for found in lines),
        repairs=repairs,
        debris=debris(pixels),
    )


def with_gaps(image: NDArray[Any], outside: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return an image with NaN outside."""
    return image if outside is None else np.where(outside, np.float32(np.nan), image)


def constant_border(frame: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where a frame has the constant border of a registered image; pixels without a value may be among it.

    It is what lies outside the convex hull of all pixels that differ from the value in a corner, as the frame of a
    camera is convex, shifted and rotated too. One corner alone may just be dark. What stitched tiles leave free from a
    corner on is part of it: its outline consists of straight lines along Y and X, that of dark background is ragged.
    """
    border = np.zeros(frame.shape, bool)
    height, width = frame.shape
    if min(height, width) < _RUN:
        return border
    done = set()
    for corner in (frame, frame[::-1], frame[:, ::-1], frame[::-1, ::-1]):
        value = corner[0, 0]
        if value in done or not ((corner[0, :_RUN] == value).all() or (corner[:_RUN, 0] == value).all()):
            continue
        done.add(value)
        differs = (frame != value) & ~missing
        border |= _free_of_tiles(~differs)
        rows = np.flatnonzero(differs.any(axis=1))
        outside = np.ones(frame.shape, bool)
        if rows.size:
            lines, columns = np.arange(rows[0], rows[-1] + 1), np.arange(width)
            first = _lower_hull(lines, rows, differs[rows].argmax(axis=1))
            last = width - 1 - _lower_hull(lines, rows, differs[rows, ::-1].argmax(axis=1))
            outside[lines] = (columns < first[:, None] - 1e-6) | (columns > last[:, None] + 1e-6)
        if outside[:: height - 1, :: width - 1].sum() >= 2 and outside.sum() >= min(LEAST_BORDER, height, width):
            border |= outside
    return border


def _free_of_tiles(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the regions of pixels of one value, each at a corner of the frame, whose outline is straight."""
    from scipy import ndimage

    labels, _ = ndimage.label(same)
    found = np.zeros(same.shape, bool)
    for label in set(labels[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()) - {0}:
        region = labels == label
        around = np.pad(region, 1, mode="edge").astype(np.int8)
        # where four pixels meet, one of them or three are in the region at a corner of it, two on a straight line
        meeting = around[:-1, :-1] + around[:-1, 1:] + around[1:, :-1] + around[1:, 1:]
        if np.count_nonzero(meeting % 2) <= _MOST_CORNERS * np.count_nonzero(meeting == 2):
            found |= region
    return found


def hot_pixels(frame: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of isolated pixels far above their neighbours.

    At least six of the eight neighbours are dark. The image of a point is wider where pixels are as small as the
    optics want them: four neighbours have about half of its light.
    """
    if min(frame.shape) < 3:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    levels = frame.astype(np.float32, copy=False)
    step = -(-levels.shape[0] // _SAMPLED_ROWS)
    rows = np.abs(levels[::step, 1:-1] - (levels[::step, :-2] + levels[::step, 2:]) / 2)
    # The mean square of all but the largest: a median is 0 where photons are few.
    rows = rows[rows > 0]
    if not rows.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    few = rows[rows <= _quantile(rows, _FEW)]
    noise = float(np.sqrt(np.mean(np.square(few), dtype=np.float64)))
    padded = np.pad(levels, 1, mode="reflect")
    beside = np.minimum(padded[1:-1, :-2], padded[1:-1, 2:])
    margin = np.float32(_NOISE * noise)
    found = np.divmod(np.flatnonzero(levels > beside + margin), levels.shape[1])
    around = _neighbours(levels, found, padded)
    # most are edges of structure, of which no neighbours need be sorted
    isolated = (levels[found] > around + margin).sum(axis=0) >= len(_AROUND) - _HOT_NEIGHBOURS
    found, around = (found[0][isolated], found[1][isolated]), np.sort(around[:, isolated], axis=0)
    darkest, third = around[0], around[-1 - _HOT_NEIGHBOURS]
    is_hot = levels[found] > third + _SPREAD * (third - darkest) + _NOISE * noise
    return found[0][is_hot], found[1][is_hot]


def _quantile(values: NDArray[np.float32], share: float) -> np.float32:
    """Return what `numpy.quantile` does of values (N,), in a fifth of its time: it partitions around one place."""
    position = share * (values.size - 1)
    below = int(position)
    parted = np.partition(values, below)
    above = parted[below + 1 :]
    ends = np.array([parted[below], above.min() if above.size else parted[below]])
    found: np.float32 = np.quantile(ends, position - below)
    return found


def _neighbours(
    frame: NDArray[Any], at: tuple[NDArray[np.intp], ...], padded: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return the eight neighbours of pixels, mirrored at the edge (8, N)."""
    padded = np.pad(frame, 1, mode="reflect") if padded is None else padded
    return np.stack([padded[at[0] + y, at[1] + x] for y, x in _AROUND])


def _mirrored(frame: NDArray[Any], outside: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace pixels outside by those as far behind the nearest pixel inside, or by that one."""
    # loaded where it is needed: it takes part of a second
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
    at = np.array(np.nonzero(outside))
    near = nearest[:, outside]
    behind = np.clip(2 * near - at, 0, np.array(frame.shape)[:, None] - 1)
    rows, columns = np.where(outside[tuple(behind)], near, behind)
    filled = frame.copy()
    filled[outside] = frame[rows, columns]
    return filled


def _lower_hull(lines: NDArray[np.intp], x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the lower convex hull of points, at `lines`; the points are in ascending order of x."""
    hull: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return np.interp(lines, *np.array(hull, np.float64).T)


def _turns_down(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    return (second[1] - first[1]) * (third[0] - first[0]) >= (third[1] - first[1]) * (second[0] - first[0])
