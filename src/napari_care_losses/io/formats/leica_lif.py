"""LIF of Leica: one file of many images, each a block of memory whose layout its XML describes."""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError, printable
from napari_care_losses.images.frames import ImageMetadata
from napari_care_losses.io.formats.opened import FileImage, even_step
from napari_care_losses.io.tiff_pages import MOST_PAGES, captured_log
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import read_at, read_xml

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree import ElementTree

    from numpy.typing import NDArray

HEAD = struct.Struct("<IIBI")
"""Before the XML: a mark, a size, a mark, and the letters of the XML, two bytes each."""

LETTERS = {1: "X", 2: "Y", 3: "Z", 4: "T", 10: "M"}
"""The dimensions that are read, by their numbers; M counts the tiles of a scan, or positions."""

COLORS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF", "magenta": "FF00FF"} | {
    "yellow": "FFFF00",
    "gray": "FFFFFF",
    "grey": "FFFFFF",
}
"""Leica's names of lookup tables, as colours."""


class _Axis(NamedTuple):
    """A dimension: its letter, its steps, the bytes from one to the next, and where they begin and end."""

    letter: str
    size: int
    stride: int
    origin: float
    length: float
    unit: str


class _Plane(NamedTuple):
    """Where a plane begins in the file."""

    place: int


def read_lif(path: Path) -> list[FileImage]:
    """Return the images of a LIF file, those in folders too; every tile of a scan is an image of its own.

    Raises
    ------
    InputError
        If the file is damaged.
    MissingLibraryError
        If liffile is not installed.
    """
    try:
        import liffile
    except ImportError as error:
        raise MissingLibraryError(
            f'{path} is a LIF file, which liffile reads: pip install "napari-care-losses[formats]"'
        ) from error
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            mark, _, second, letters = HEAD.unpack(read_at(file, 0, HEAD.size))
            if (mark, second) != (0x70, 0x2A):
                raise ValueError("it does not begin as such a file")
            # looked at before liffile parses it
            read_xml(read_at(file, HEAD.size, 2 * letters).decode("utf-16-le"))
        with captured_log("liffile"), liffile.LifFile(path) as lif:
            found = [one for image in lif.images for one in _images(path, size, lif, image)]
    except (ValueError, LookupError, struct.error, AssertionError, TypeError, ArithmeticError) as error:
        raise InputError(f"{path} cannot be read as LIF ({error}); is it whole?") from error
    if not found:
        raise InputError(f"{path} holds no image.")
    return found


def _images(path: Path, size: int, lif: Any, image: Any) -> list[FileImage]:
    """Return one image, or one for each of its tiles."""
    name = printable(str(image.path))[:200]
    described = image.xml_element.find("./Data/Image/ImageDescription")
    if described is None:
        return [_unreadable(name, f"holds no pixels in {name!r}, but the arrival times of photons")]
    axes = [_axis(one) for one in described.iterfind("./Dimensions/DimensionDescription")]
    unknown = [axis for axis in axes if not axis.letter and axis.size > 1]
    by_letter = {axis.letter: axis for axis in axes if axis.letter}
    if unknown:
        return [_unreadable(name, f"has more axes than time, Z, channel and position in {name!r}: split it in LAS X")]
    if not {"X", "Y"} <= by_letter.keys():
        return [_unreadable(name, f"holds lines along {', '.join(by_letter)} in {name!r}, and no images along Y and X")]
    channels = described.findall("./Channels/ChannelDescription")
    kinds = {_type(one) for one in channels}
    if len(kinds) != 1:
        return [_unreadable(name, f"holds channels of different pixel types in {name!r}: split them in LAS X")]
    block = lif.memory_blocks.get(_block_name(image.xml_element))
    if block is None:
        return [_unreadable(name, f"is cut short: the pixels of {name!r} are not in it, copy it again")]
    if sum(axis.size for axis in by_letter.values()) > MOST_PAGES:
        raise ValueError(f"it claims {[axis.size for axis in axes]} steps")
    tiles = by_letter.get("M")
    count = tiles.size if tiles else 1
    start = 0 if tiles is None else tiles.stride
    return [
        _image(
            path,
            min(size, block.offset + block.size),
            block.offset + number * start,
            by_letter,
            channels,
            kinds.copy().pop(),
            image.xml_element,
            f"{name} tile {number}" if count > 1 else name,
        )
        for number in range(count)
    ]


def _image(
    path: Path,
    end: int,
    start: int,
    axes: dict[str, _Axis],
    channels: list[ElementTree.Element[Any]],
    dtype: np.dtype[Any],
    element: ElementTree.Element[Any],
    name: str,
) -> FileImage:
    """Return an image whose pixels begin at a byte of the file; none lie at `end` or after it."""
    one = _Axis("", 1, 0, 0.0, 0.0, "")
    places = [int(channel.get("BytesInc", 0)) for channel in channels]
    # red, green and blue beside one another in every pixel
    is_colour = len(places) in (3, 4) and axes["X"].stride == len(places) * dtype.itemsize
    is_colour = is_colour and all(channel.get("ChannelTag") != "0" for channel in channels)
    samples: tuple[int, ...] = ()
    if is_colour:
        by_colour = sorted(channels, key=lambda channel: int(channel.get("ChannelTag", 0)))
        samples, places = tuple(int(channel.get("BytesInc", 0)) for channel in by_colour), [0]
    rows, columns = axes["Y"], axes["X"]
    # a plane takes the bytes up to its last pixel
    span = (rows.size - 1) * rows.stride + (columns.size - 1) * columns.stride + dtype.itemsize
    span += max(samples, default=0)
    times, heights = axes.get("T", one), axes.get("Z", one)
    planes: dict[tuple[int, int, int], _Plane] = {}
    for time, height, channel in product(range(times.size), range(heights.size), range(len(places))):
        place = start + time * times.stride + height * heights.stride + places[channel]
        if place + span <= end:
            planes[time, height, channel] = _Plane(place)
    strides = (rows.stride, columns.stride)
    shape = (rows.size, columns.size)
    if min(*strides, *shape) < 1 or min(times.stride, heights.stride, *places) < 0 or span < 0:
        raise ValueError(f"the layout of {name!r} is damaged")
    steps: dict[str, tuple[object, object]] = {
        letter: (abs(axis.length) / (axis.size - 1), axis.unit or ("s" if letter == "T" else "m"))
        for letter, axis in axes.items()
        if axis.size > 1
    }
    if times.size > 1 and not times.length:
        steps["T"] = (_measured(element, times.size), "s")
    return FileImage(
        planes=planes,
        promised=(times.size, heights.size, len(places)),
        read=partial(_pixels, path, shape, strides, dtype, samples, span),
        plane_shape=(*shape, len(samples)) if is_colour else shape,
        plane_axes="YXS" if is_colour else "YX",
        dtype=dtype,
        calibration=calibration_of(steps),
        metadata=ImageMetadata(channels=() if is_colour else tuple(_described(one) for one in channels)),
        name=name,
    )


def _pixels(
    path: Path,
    shape: tuple[int, int],
    strides: tuple[int, int],
    dtype: np.dtype[Any],
    samples: tuple[int, ...],
    span: int,
    plane: _Plane,
) -> NDArray[Any]:
    """Return the pixels of a plane; of a colour image, the samples that begin at these bytes of every pixel."""
    try:
        with path.open("rb") as file:
            stored = read_at(file, plane.place, span)
    except ValueError as error:
        raise UnreadableError(f"{path}: {error}") from error
    parts = [np.ndarray(shape, dtype, stored, offset=offset, strides=strides).copy() for offset in samples or (0,)]
    return np.stack(parts, axis=-1) if samples else parts[0]


def _unreadable(name: str, problem: str) -> FileImage:
    return FileImage(
        planes={(0, 0, 0): None},
        read=lambda _: np.zeros((1, 1), np.uint8),
        plane_shape=(1, 1),
        dtype=np.dtype(np.uint8),
        name=name,
        problem=problem,
    )


def _axis(told: ElementTree.Element[Any]) -> _Axis:
    count = int(told.get("NumberOfElements", 1))
    if count < 1:
        raise ValueError(f"an axis has {count} steps")
    return _Axis(
        LETTERS.get(int(told.get("DimID", 0)), ""),
        count,
        int(told.get("BytesInc", 0)),
        float(told.get("Origin") or 0),
        float(told.get("Length") or 0),
        told.get("Unit", ""),
    )


def _type(channel: ElementTree.Element[Any]) -> np.dtype[Any]:
    """Return the pixel type of a channel, which says how many bits it has."""
    bits, kind = int(channel.get("Resolution", 8)), {"0": "u", "1": "f"}.get(channel.get("DataType", "0"))
    size = next((size for size in (1, 2, 4, 8) if bits <= 8 * size), None)
    if kind is None or size is None or bits < 1 or (kind == "f" and size == 1):
        raise ValueError(f"pixels of {bits} bits are of an unknown type")
    return np.dtype(f"<{kind}{size}")


def _block_name(element: ElementTree.Element[Any]) -> str:
    memory = element.find("./Memory")
    return "" if memory is None else memory.get("MemoryBlockID", "")


def _measured(element: ElementTree.Element[Any], count: int) -> float | None:
    """Return the time between time points by the time stamps of all planes, in steps of 100 ns."""
    stamps = element.find("./Data/Image/TimeStampList")
    told = (stamps.text or "").split() if stamps is not None else []
    if len(told) < count or len(told) % count:
        return None
    with suppress(ValueError):
        return even_step([int(one, 16) / 1e7 for one in told[:: len(told) // count]])
    return None


def _described(channel: ElementTree.Element[Any]) -> dict[str, Any]:
    """Return name and colour of a channel."""
    told: dict[str, Any] = {}
    properties = {one.findtext("Key"): one.findtext("Value") for one in channel.iterfind("./ChannelProperty")}
    if name := properties.get("DyeName") or channel.get("NameOfMeasuredQuantity"):
        told["label"] = printable(name)[:200]
    if color := COLORS.get(channel.get("LUTName", "").lower()):
        told["color"] = color
    return told
