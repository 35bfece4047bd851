"""TIFF files (plain, ImageJ, OME, BigTIFF) read lazily as frames, damaged and hostile ones refused."""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, printable
from napari_care_losses.images.frames import LEADING_AXES, Calibration, Frames, ImageMetadata
from napari_care_losses.io.acquisitions import bruker, micro_manager
from napari_care_losses.io.acquisitions.bruker import bruker_set, master_of
from napari_care_losses.io.acquisitions.micro_manager import micro_manager_set
from napari_care_losses.io.acquisitions.micro_manager_stacks import (
    STACKS,
    described_stack,
    files_of_stack,
    series_of_positions,
)
from napari_care_losses.io.acquisitions.planes import open_planes
from napari_care_losses.io.formats.opened import OpenedImage, chosen_number, even_step, named_image, without_absent
from napari_care_losses.io.formats.registry import is_of_maker
from napari_care_losses.io.ome_metadata import read_ome_xml
from napari_care_losses.io.tiff_pages import (
    LARGEST_PAGE,
    absent_frames,
    check_chain,
    check_file_names,
    check_size,
    companion_file,
    companion_text,
    image_numbers,
    is_written_page_by_page,
    named_files,
    readable_tiff,
)
from napari_care_losses.io.units import calibration_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tifffile
    import zarr

    from napari_care_losses.io.acquisitions.planes import PlaneSet

FINEST_PRINT = 2.5
"""Size in micrometres of the smallest dot of printers and scanners (10,000 an inch): larger pixels of plain TIFF are
meant for those, not for a microscope."""


def read_tiff(path: Path, *, incomplete: bool = False) -> Frames:
    """Open an image of a TIFF file as lazy frames; see `open_tiff`."""
    return open_tiff(path, incomplete=incomplete).frames(path)


def list_images(path: Path) -> list[Path]:
    """Return the images of a TIFF file, or of the set it belongs to: itself where it is one, else ``FILE/NUMBER``.

    Raises
    ------
    InputError
        If the file is missing or is no readable TIFF.
    """
    planes = plane_set(path)
    if planes is not None:
        numbers = list(range(len(planes.images)))
    else:
        with _opened(path) as (_, series, *_):
            numbers = image_numbers(series)
    return [path] if len(numbers) == 1 else [path / str(number) for number in numbers]


def plane_set(path: Path) -> PlaneSet | None:
    """Return the set of files of one plane that a file belongs to; None where it stands by itself."""
    return (bruker_set(path) or micro_manager_set(path)) if path.is_file() else None


def set_name(path: Path) -> str:
    """Return what the set of files of one plane is called to which a file belongs by its name; empty for others."""
    return bruker.set_name(path) or micro_manager.set_name(path)


def files_of_set(path: Path) -> set[Path]:
    """Return the files that make one image, or several, together with a TIFF file; none where it stands by itself."""
    if is_of_maker(path):
        return set()
    try:
        planes = plane_set(path)
        if planes is not None:
            return planes.files
        with _opened(path) as (tiff, series, *_):
            if series[0].kind in STACKS:
                return set().union(*(files_of_stack(path, one) for one in series))
            return {path.parent / name for name in named_files(tiff.ome_metadata or "")}
    except InputError:
        # damaged, all of them are still one set
        name = set_name(path)
        return {one for one in path.parent.iterdir() if set_name(one) == name} if name else set()


def open_tiff(path: Path, *, incomplete: bool = False) -> OpenedImage:
    """Open an image of a TIFF file (plain, ImageJ, OME, BigTIFF; compressed or not), or of the set it belongs to.

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
    file, number = named_image(path)
    planes = plane_set(file)
    if planes is not None:
        choices = [(one.shape, "TZC", one.name) for one in planes.images]
        image = planes.images[chosen_number(file, number, list(range(len(choices))), choices)]
        stack, axes, absent = open_planes(file, image)
        calibration = image.calibration
        if calibration.pixel_size is None:
            calibration = replace(calibration, pixel_size=_own_pixel_size(file))
        found = OpenedImage([stack], axes, calibration, image.metadata, image.note)
        return without_absent(found, absent, incomplete=incomplete)
    with _opened(file) as (tiff, series, messages, note):
        number = chosen_number(file, number, image_numbers(series), [(one.shape, one.axes, one.name) for one in series])
        pages = series[number]
        check_size(file, pages.keyframe)
        levels: list[Any] = [_level(tiff, pages, number, level) for level in range(len(pages.levels))]
        found = OpenedImage(levels, _axes(pages, len(levels[0].shape)), *_described(tiff, pages, number), note)
        absent = absent_frames(file, tiff, pages, tuple(map(int, levels[0].shape)), messages)
        return without_absent(found, absent, incomplete=incomplete)


def describe_tiff(path: Path) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of the first image of a TIFF file, of which frames may be missing.

    Raises
    ------
    InputError
        If the file is missing or is no readable TIFF.
    """
    with _opened(path) as (tiff, series, *_):
        return _described(tiff, series[0], 0)


class _Opened(NamedTuple):
    """A file as tifffile reads it: its images, what it logged of damage, and what is to be known of it."""

    tiff: tifffile.TiffFile
    series: list[tifffile.TiffPageSeries]
    messages: list[str]
    note: str


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """Open a file; errors of tifffile become one clear error."""
    # loaded when a file is read, not when a widget is opened
    import tifffile

    with readable_tiff(path) as (tiff, messages), ExitStack() as opened:
        check_chain(path, tiff)
        note, series = "", series_of_positions(path, tiff)
        if series:
            yield _Opened(tiff, series, messages, note)
            return
        xml = tiff.ome_metadata or ""
        companion = companion_file(path, xml)
        if companion is not None and not companion.suffix.lower().startswith(".tif"):
            tiff = opened.enter_context(tifffile.TiffFile(path, omexml=companion_text(companion)))
        elif (master := companion or (None if named_files(xml) else master_of(path))) is not None:
            first = opened.enter_context(tifffile.TiffFile(master))
            tiff = first if companion or path.name in named_files(first.ome_metadata or "") else tiff
        check_file_names(path, tiff.ome_metadata or "")
        if not tiff.series:
            raise InputError(f"{path} holds no image.")
        if is_written_page_by_page(tiff):
            joined = opened.enter_context(tifffile.TiffFile(path, is_shaped=False))
            if len(joined.series) == 1:
                note = f"{path} holds {len(tiff.series)} images of one page each that nothing tells apart: "
                note += "taken as the frames of one stack."
                tiff = joined
        yield _Opened(tiff, tiff.series, messages, note)


def _level(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int, level: int) -> zarr.Array[Any]:
    """Return one resolution of a series, that of a number in its file, as a lazy array."""
    import tifffile
    import zarr

    page = series.levels[level].keyframe
    # a page may have thousands of strips: it is read many times faster as a whole
    mode = "page" if not page.is_tiled and page.nbytes <= LARGEST_PAGE else None
    store: Any
    if len(series.levels) == 1:
        # what has been read of the structure serves again
        store = series.aszarr(chunkmode=mode)
    else:
        store = tifffile.imread(
            tiff.filehandle.path, aszarr=True, omexml=tiff.ome_metadata, series=number, level=level, chunkmode=mode
        )
    data = zarr.open_array(store, mode="r")
    weakref.finalize(data, store.close)
    return data


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


def _described(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int
) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of an image, that of a number in its file."""
    if series.kind in STACKS:
        return described_stack(tiff, series)
    if tiff.is_ome:
        return read_ome_xml(tiff.ome_metadata or "", number)
    if tiff.is_stk:
        return _stk_calibration(tiff.stk_metadata or {}), ImageMetadata()
    if tiff.is_lsm:
        return _of_lsm(tiff.lsm_metadata or {})
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


def _own_pixel_size(path: Path) -> tuple[float, float] | None:
    """Return the pixel size that a file of a set has besides."""
    with suppress(InputError), readable_tiff(path, is_ome=False) as (tiff, _):
        return _described(tiff, tiff.series[0], 0)[0].pixel_size
    return None


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


def _of_lsm(told: dict[str, Any]) -> tuple[Calibration, ImageMetadata]:
    """Return steps and channels of LSM, which has distances in metres and times in seconds."""
    steps = {axis: (told.get(f"VoxelSize{axis}"), "m") for axis in "XYZ"}
    stamps = np.asarray(told.get("TimeStamps", ()), float)
    interval = told.get("TimeIntervall") or even_step(stamps.tolist())
    named = told.get("ChannelColors", {})
    channels = [
        {"label": printable(str(name))[:200], "color": "".join(f"{int(part) & 255:02X}" for part in color[:3])}
        for name, color in zip(named.get("ColorNames", ()), named.get("Colors", ()), strict=False)
    ]
    return calibration_of({**steps, "T": (interval, "s")}), ImageMetadata(channels=channels)


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
