"""TIFF files (plain, ImageJ, OME, BigTIFF) read lazily as frames, damaged and hostile ones refused."""

from __future__ import annotations

import logging
import weakref
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import LEADING_AXES, Calibration, Frames
from napari_care_losses.io.units import calibration_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tifffile
    import zarr

LARGEST_PAGE = 256 * 2**20
"""Bytes up to which a page stored in strips is read as a whole."""

MOST_PAGES = 1_000_000
"""Most pages of a file, each of which has to be looked at."""

OME_STEPS = {"T": ("TimeIncrement", "s"), **{axis: (f"PhysicalSize{axis}", "µm") for axis in "ZYX"}}
"""The attributes of OME-TIFF for the step along an axis, and their units where none is named."""

MOST_PACKED = 100_000
"""Largest ratio of pixels to stored bytes in a page larger than `LARGEST_PAGE`; zeros reach 30,000."""


def read_tiff(path: Path) -> Frames:
    """Open a TIFF file (plain, ImageJ, OME, BigTIFF; compressed or not) as lazy frames.

    Raises
    ------
    InputError
        If the file is missing, is no readable TIFF, or holds no stack of grey-level frames.
    """
    # loaded when a file is read, not when a widget is opened
    import tifffile

    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with _captured_log() as messages, tifffile.TiffFile(path) as tiff:
            _check_chain(path, tiff)
            _check_file_names(path, tiff.ome_metadata or "")
            if not tiff.series:
                raise InputError(f"{path} holds no image.")
            if any("invalid page offset" in message for message in messages) or not _reaches_its_end(tiff.series[0]):
                raise InputError(f"{path} cannot be read whole: it is cut short, copy it again.")
            _check_size(path, tiff.series[0].keyframe)
            calibration = _calibration(tiff)
            data = _level(path, tiff.series[0], 0)
            axes = _axes(tiff.series[0], len(data.shape))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as TIFF ({error}); is it whole?") from error
    try:
        return Frames(data, axes, calibration)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def smaller_copies(path: Path) -> list[zarr.Array[Any]]:
    """Return the coarser resolutions, read lazily, of a TIFF file that `read_tiff` can read; often none."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return [_level(path, series, number) for number in range(1, len(series.levels))]


def _level(path: Path, series: tifffile.TiffPageSeries, number: int) -> zarr.Array[Any]:
    """Return one resolution of a series as a lazy array."""
    import tifffile
    import zarr

    page = series.levels[number].keyframe
    # a page may have thousands of strips: it is read many times faster as a whole
    mode = "page" if not page.is_tiled and page.nbytes <= LARGEST_PAGE else None
    store = tifffile.imread(path, aszarr=True, level=number, chunkmode=mode)
    data = zarr.open_array(store, mode="r")
    weakref.finalize(data, store.close)
    return data


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what tifffile logs of a damaged file instead of showing it: the caller raises one clear error."""
    messages: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


def _reaches_its_end(series: tifffile.TiffPageSeries) -> bool:
    """Return whether the pixels of the first and the last page of a series lie within its file."""
    if series.dataoffset is not None:
        return bool(series.dataoffset + series.nbytes <= series.keyframe.parent.filehandle.size)
    for page in (series[0], series[len(series) - 1]):
        if page is not None:
            end = max((at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
            if end > page.parent.filehandle.size:
                return False
    return True


def _axes(series: tifffile.TiffPageSeries, count: int) -> str:
    """Return the axes, `count` of them, of a series; those of unknown meaning become time, then Z."""
    # releases of tifffile differ in whether they leave out axes of length 1
    squeezed = "".join(axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX")
    axes = next((axes for axes in (squeezed, series.axes) if len(axes) == count), squeezed)
    if "S" not in axes and not (len(axes) == count and axes.endswith("YX")):
        # images one pixel high or wide lose an axis that is theirs
        return ""
    free = [letter for letter in LEADING_AXES[:2] if letter not in axes]
    return "".join(axis if axis in "TZCYXS" or not free else free.pop(0) for axis in axes)


def _calibration(tiff: tifffile.TiffFile) -> Calibration:
    if tiff.is_ome:
        return _ome_calibration(tiff.ome_metadata or "")
    page, imagej = tiff.pages.first, tiff.imagej_metadata or {}
    # ImageJ counts pixels in its own unit, whatever the resolution unit of TIFF is
    unit = imagej.get("unit") or {2: "inch", 3: "cm"}.get(int(page.resolutionunit))
    x, y = page.resolution if unit and "XResolution" in page.tags else (0.0, 0.0)
    is_known = x > 0 and y > 0 and (x, y) not in {(1, 1), (72, 72)}  # what programs write that know no pixel size
    return calibration_of(
        {
            "X": (1 / x if is_known else None, unit),
            "Y": (1 / y if is_known else None, imagej.get("yunit", unit)),
            "Z": (imagej.get("spacing"), imagej.get("zunit", imagej.get("unit"))),
            # ImageJ leaves out seconds
            "T": (imagej.get("finterval"), imagej.get("tunit", "sec")),
        }
    )


def _ome_calibration(xml: str) -> Calibration:
    import tifffile

    pixels = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})
    return calibration_of(
        {axis: (pixels.get(name), pixels.get(f"{name}Unit", unit)) for axis, (name, unit) in OME_STEPS.items()}
    )


def _check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose chain of pages, each of which holds the place of the next, is a circle or too long."""
    file, layout = tiff.filehandle, tiff.tiff
    order: Literal["little", "big"] = "little" if tiff.byteorder == "<" else "big"
    # the place of the first page ends the head of the file
    file.seek(4 if layout.offsetsize == 4 else 8)
    seen: set[int] = set()
    while True:
        found = file.read(layout.offsetsize)
        place = int.from_bytes(found, order)
        if len(found) < layout.offsetsize or place == 0 or place >= file.size:
            return
        if place in seen or len(seen) == MOST_PAGES:
            raise InputError(f"{path} is damaged: after {len(seen):,} pages it comes back to one of them.")
        seen.add(place)
        file.seek(place)
        tags = int.from_bytes(file.read(layout.tagnosize), order)
        file.seek(place + layout.tagnosize + tags * layout.tagsize)


def _check_file_names(path: Path, xml: str) -> None:
    """Refuse an OME-TIFF that names files outside its folder as parts of its stack."""
    if "FileName" not in xml:
        return
    for element in ElementTree.fromstring(xml).iter():
        name = element.get("FileName", "")
        if PureWindowsPath(name).name != name or name == ".." or "\0" in name:
            raise InputError(f"{path} is not trusted: it names a file {name!r:.80}, outside its folder.")


def _check_size(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse a page far larger than any compression could make of the bytes that are there."""
    stored = sum(page.databytecounts)
    if page.nbytes > max(LARGEST_PAGE, MOST_PACKED * stored):
        raise InputError(f"{path} is damaged: it claims frames of {page.nbytes:,} bytes, made of {stored:,}.")
