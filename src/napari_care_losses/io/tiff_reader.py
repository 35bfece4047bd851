"""TIFF files (plain, ImageJ, OME, BigTIFF) read lazily as frames, damaged and hostile ones refused."""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.frames import LEADING_AXES, Calibration, Frames, ImageMetadata, SomeSteps
from napari_care_losses.io.ome_metadata import read_ome_xml
from napari_care_losses.io.tiff_pages import (
    LARGEST_PAGE,
    absent_frames,
    check_chain,
    check_file_names,
    check_size,
    choice_of_images,
    companion_xml,
    image_numbers,
    is_written_page_by_page,
    named_files,
)
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import other_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tifffile
    import zarr

FINEST_PRINT = 2.5
"""Size in micrometres of the smallest dot of printers and scanners (10,000 an inch): larger pixels of plain TIFF are
meant for those, not for a microscope."""


class TiffImage(NamedTuple):
    """One image of a TIFF file, none of its pixels read yet.

    Attributes
    ----------
    levels : list of arrays
        From the full resolution to the coarsest, read lazily.
    axes : str
        A letter for each axis, as `Frames` takes them.
    calibration : Calibration
        Pixel size and steps.
    metadata : ImageMetadata
        Channels and stage position.
    note : str
        What was left out of the stack; often empty.
    """

    levels: list[Any]
    axes: str
    calibration: Calibration
    metadata: ImageMetadata
    note: str


def read_tiff(path: Path, *, incomplete: bool = False) -> Frames:
    """Open an image of a TIFF file as lazy frames; see `open_tiff`."""
    image = open_tiff(path, incomplete=incomplete)
    try:
        return Frames(image.levels[0], image.axes, image.calibration, note=image.note, metadata=image.metadata)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def list_images(path: Path) -> list[Path]:
    """Return the images of a TIFF file: itself where it holds one, else ``FILE/NUMBER`` for each.

    Raises
    ------
    InputError
        If the file is missing or is no readable TIFF.
    """
    with _opened(path) as (tiff, *_):
        numbers = image_numbers(tiff)
        return [path] if len(numbers) == 1 else [path / str(number) for number in numbers]


def files_of_set(path: Path) -> set[Path]:
    """Return the files that a TIFF file names as parts of its set, itself included; none where it is no set."""
    try:
        with _opened(path) as (tiff, *_):
            return {path.parent / name for name in named_files(tiff.ome_metadata or "")}
    except InputError:
        return set()


def open_tiff(path: Path, *, incomplete: bool = False) -> TiffImage:
    """Open an image of a TIFF file (plain, ImageJ, OME, BigTIFF; compressed or not).

    Parameters
    ----------
    path : Path
        The file; of a file of several images, ``FILE/NUMBER``. A preview in front of a stack is no image of its own.
    incomplete : bool
        Whether a stack of which frames are missing is opened, without the steps (time points, planes) they belong to.

    Raises
    ------
    InputError
        If the file is missing, is no readable TIFF or holds several images.
    UnreadableError
        If frames are missing.
    """
    file, number = _named(path)
    with _opened(file) as (tiff, messages, note):
        numbers = image_numbers(tiff)
        if number is None:
            if len(numbers) > 1:
                raise InputError(choice_of_images(file, tiff, numbers))
            number = numbers[0]
        elif number >= len(tiff.series):
            raise InputError(f"{file} holds {len(tiff.series)} images, counted from 0: there is no image {number}.")
        series = tiff.series[number]
        check_size(file, series.keyframe)
        levels: list[Any] = [_level(file, tiff, number, level) for level in range(len(series.levels))]
        axes = _axes(series, len(levels[0].shape))
        calibration, metadata = _described(tiff, number)
        shape = tuple(map(int, levels[0].shape))
        absent = absent_frames(file, tiff, number, shape, messages)
        if absent is not None:
            can_leave_out = len(absent.shape) == len(shape) - 2
            if not (incomplete and can_leave_out):
                choice = ", or restore what is whole with --incomplete" if can_leave_out else ""
                raise UnreadableError(f"{absent} Copy it again{choice}.")
            axis, steps = absent.whole_steps()
            levels = [SomeSteps(level, axis, steps) for level in levels]
            letter = Frames(levels[0], axes).axes[axis]
            left_out = f"{absent} Left out: {len(steps)} of {absent.shape[axis]} steps along {letter} are whole."
            note = f"{note} {left_out}".strip()
            if letter == "C" and len(metadata.channels) == absent.shape[axis]:
                metadata = replace(metadata, channels=[metadata.channels[one] for one in steps])
            if steps[0]:
                position = {one: place for one, place in metadata.position.items() if one != letter}
                metadata = replace(metadata, position=position)
            if len(set(np.diff(steps))) > 1:
                calibration = replace(
                    calibration, **({"T": {"time_step": None}, "Z": {"z_step": None}}.get(letter, {}))
                )
    return TiffImage(levels, axes, calibration, metadata, note)


def _named(path: Path) -> tuple[Path, int | None]:
    """Return the file and the number of the image that a path names."""
    if not path.exists() and path.parent.is_file() and path.name.isdecimal():
        return path.parent, int(path.name)
    return path, None


class _Opened(NamedTuple):
    """A file as tifffile reads it, what it logged of damage, and what is to be known of it."""

    tiff: tifffile.TiffFile
    messages: list[str]
    note: str


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """Open a file; errors of tifffile become one clear error."""
    # loaded when a file is read, not when a widget is opened
    import tifffile

    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with _captured_log() as messages, tifffile.TiffFile(path) as tiff:
            check_chain(path, tiff)
            companion = companion_xml(path, tiff.ome_metadata or "")
            with ExitStack() as opened:
                if companion is not None:
                    tiff = opened.enter_context(tifffile.TiffFile(path, omexml=companion))
                check_file_names(path, tiff.ome_metadata or "")
                if not tiff.series:
                    raise InputError(f"{path} holds no image.")
                note = ""
                if is_written_page_by_page(tiff):
                    joined = opened.enter_context(tifffile.TiffFile(path, is_shaped=False))
                    if len(joined.series) == 1:
                        note = f"{path} holds {len(tiff.series)} images of one page each that nothing tells apart: "
                        note += "taken as the frames of one stack."
                        tiff = joined
                yield _Opened(tiff, messages, note)
    except InputError:
        raise
    except Exception as error:
        reason = error if path.stat().st_size else "it is empty"
        raise InputError(other_format(path) or f"{path} cannot be read as TIFF ({reason}); is it whole?") from error


def _level(path: Path, tiff: tifffile.TiffFile, number: int, level: int) -> zarr.Array[Any]:
    """Return one resolution of a series as a lazy array."""
    import tifffile
    import zarr

    series = tiff.series[number]
    page = series.levels[level].keyframe
    # a page may have thousands of strips: it is read many times faster as a whole
    mode = "page" if not page.is_tiled and page.nbytes <= LARGEST_PAGE else None
    store: Any
    if len(series.levels) == 1:
        # what has been read of the structure serves again
        store = series.aszarr(chunkmode=mode)
    else:
        store = tifffile.imread(path, aszarr=True, omexml=tiff.ome_metadata, series=number, level=level, chunkmode=mode)
    data = zarr.open_array(store, mode="r")
    weakref.finalize(data, store.close)
    return data


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what tifffile logs of a damaged file instead of showing it: the caller raises one clear error."""
    messages: list[str] = []
    reading = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        # another thread may read another file meanwhile
        if record.thread != reading:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


def _axes(series: tifffile.TiffPageSeries, count: int) -> str:
    """Return the axes, `count` of them, of a series; those of unknown meaning become time, then Z.

    Samples in planes of their own are such an axis: programs write any stack of three or four frames like that.
    """
    # releases of tifffile differ in whether they leave out axes of length 1
    squeezed = "".join(axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX")
    axes = next((axes for axes in (squeezed, series.axes) if len(axes) == count), squeezed)
    if len(axes) == count and axes.endswith("S"):
        return axes
    if not (len(axes) == count and axes.endswith("YX")):
        # images one pixel high or wide lose an axis that is theirs
        return ""
    if not set(axes) & set("TZC"):
        return ""
    free = [letter for letter in LEADING_AXES[:2] if letter not in axes]
    return "".join(axis if axis in "TZCYX" or not free else free.pop(0) for axis in axes)


def _described(tiff: tifffile.TiffFile, number: int) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of an image."""
    if tiff.is_ome:
        return read_ome_xml(tiff.ome_metadata or "", number)
    if tiff.is_stk:
        return _stk_calibration(tiff.stk_metadata or {}), ImageMetadata()
    page, imagej = tiff.pages.first, tiff.imagej_metadata
    # ImageJ counts pixels in its own unit, whatever the resolution unit of TIFF is
    unit = imagej.get("unit") if imagej else {2: "inch", 3: "cm"}.get(int(page.resolutionunit))
    x, y = page.resolution if unit and "XResolution" in page.tags else (0.0, 0.0)
    is_known = x > 0 and y > 0 and (x, y) != (1, 1)  # what programs write that know no pixel size
    told = imagej or {}
    found = calibration_of(
        {
            "X": (1 / x if is_known else None, unit),
            "Y": (1 / y if is_known else None, told.get("yunit", unit)),
            "Z": (told.get("spacing"), told.get("zunit", told.get("unit"))),
            # ImageJ leaves out seconds
            "T": (told.get("finterval"), told.get("tunit", "sec")),
        }
    )
    is_print = not imagej and found.pixel_size is not None and max(found.pixel_size) > FINEST_PRINT
    return replace(found, pixel_size=None) if is_print else found, ImageMetadata(channels=_imagej_channels(told))


def _stk_calibration(told: dict[str, Any]) -> Calibration:
    """Return the steps of MetaMorph, which has distances of planes in micrometres and times in milliseconds."""
    unit = told.get("CalibrationUnits")
    distances, times = (np.asarray(told.get(name, ())) for name in ("ZDistance", "TimeCreated"))
    distances = distances[distances > 0]
    spans = np.diff(times.astype(float))
    is_even = len(distances) > 0 and np.ptp(distances) < 0.01 * distances.mean()
    return calibration_of(
        {
            "X": (told.get("XCalibration"), unit),
            "Y": (told.get("YCalibration"), unit),
            "Z": (distances.mean() if is_even else None, "um"),
            "T": (spans.mean() if len(spans) and (spans > 0).all() else None, "ms"),
        }
    )


def _imagej_channels(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return colour and contrast of the channels of ImageJ, as far as its description has them."""
    colours = [f"{r:02X}{g:02X}{b:02X}" for r, g, b in (table[:, -1] for table in told.get("LUTs", ()))]
    ranges = told.get("Ranges", ())
    windows = [{"start": float(one), "end": float(two)} for one, two in zip(ranges[::2], ranges[1::2], strict=False)]
    count = told.get("channels", 1)
    channels: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, values in (("color", colours), ("window", windows)):
        if len(values) == count:
            channels = [{**one, key: value} for one, value in zip(channels, values, strict=True)]
    return channels if any(channels) else []
