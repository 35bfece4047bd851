"""ND2 of Nikon: described by nd2, its frames read here at the places that its map of chunks names.

nd2 maps the file into memory while it is open, which keeps it from being replaced on Windows, and reads zeros where
frames are missing.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError, printable
from napari_care_losses.images.frames import ImageMetadata
from napari_care_losses.io.formats.opened import UNEVEN, FileImage
from napari_care_losses.io.tiff_pages import MOST_PAGES
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import read_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK = struct.Struct("<IIQ")
"""Head of a chunk: a mark, the bytes of its name, and those of its data."""

MARK = 0x0ABECEDA
OLD_MARK = 0x0C000000
"""How files of ND2 begin; those of before 2010 otherwise."""

END = struct.Struct("<32sQ")
"""The end of a file: a signature, and where its map of chunks begins."""

ENTRY = struct.Struct("<QQ")
"""Of a chunk in the map: where it begins, and its bytes."""

SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"

FRAME = re.compile(rb"ImageDataSeq\|(\d{1,9})!")
"""Names of the chunks of frames."""

LARGEST_MAP = 256 << 20
"""Most bytes of the map of chunks: some 60 a chunk."""

LARGEST_DESCRIPTION = 16 << 20
"""Most bytes of a chunk that describes the file."""

HEAD_OF_FRAME = 8
"""Bytes in front of the pixels of a frame: its time."""

LOOPS = {"TimeLoop": "T", "NETimeLoop": "T", "ZStackLoop": "Z", "XYPosLoop": "P"}
"""nd2's names of loops, by their axes; P counts positions."""


class _Layout(NamedTuple):
    """How the pixels of a frame lie: size, channels, samples of a channel, bytes of a row, type, and whether packed."""

    height: int
    width: int
    channels: int
    samples: int
    row: int
    dtype: np.dtype[Any]
    is_packed: bool


def read_nd2(path: Path) -> list[FileImage]:
    """Return the images of an ND2 file: one, or one for every position.

    Raises
    ------
    InputError
        If the file is damaged, or of the format that was written before 2010.
    MissingLibraryError
        If nd2 is not installed.
    """
    try:
        import nd2
    except ImportError as error:
        raise MissingLibraryError(
            f'{path} is an ND2 file, which nd2 reads: pip install "napari-care-losses[formats]"'
        ) from error
    try:
        with path.open("rb") as file:
            places = _places(file, path)
        with nd2.ND2File(path) as opened:
            return _images(path, places, opened)
    except InputError:
        raise
    except Exception as error:
        # what damaged descriptions make nd2 raise is of every kind
        reason = error if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as ND2 ({reason}); is it whole?") from error


def _places(file: BinaryIO, path: Path) -> dict[int, int]:
    """Return where the chunk of every frame begins; look at the chunks that nd2 is going to parse."""
    (mark,) = struct.unpack("<I", read_at(file, 0, 4))
    if mark == OLD_MARK:
        raise InputError(f"{path} is an ND2 file of before 2010, which is not read: save it anew in NIS-Elements.")
    if mark != MARK:
        raise ValueError("it does not begin as such a file")
    size = file.seek(0, 2)
    signature, place = END.unpack(read_at(file, size - END.size, END.size))
    if signature != SIGNATURE:
        raise ValueError("its map of chunks is not at its end: it is cut short, or still being written")
    table = _chunk(file, place, LARGEST_MAP)
    frames: dict[int, int] = {}
    at = 0
    while (end := table.find(b"!", at, at + 512) + 1) and (name := table[at:end]) != SIGNATURE:
        start, _ = ENTRY.unpack_from(table, end)
        at = end + ENTRY.size
        if match := FRAME.fullmatch(name):
            if len(frames) == MOST_PAGES:
                raise ValueError(f"it claims more than {MOST_PAGES:,} frames")
            if start < size:
                frames[int(match[1])] = start
        elif name.startswith(b"Image"):
            description = _chunk(file, start, LARGEST_DESCRIPTION)
            if b"<!DOCTYPE" in description.replace(b"\0", b""):
                raise ValueError("its XML declares a document type, as no microscope writes it")
    return frames


def _chunk(file: BinaryIO, place: int, most: int) -> bytes:
    mark, name, size = CHUNK.unpack(read_at(file, place, CHUNK.size))
    if mark != MARK or size > most:
        raise ValueError(f"the chunk at byte {place:,} is damaged")
    return read_at(file, place + CHUNK.size + name, size)


def _images(path: Path, places: dict[int, int], opened: Any) -> list[FileImage]:
    attributes = opened.attributes
    channels = attributes.channelCount or 1
    samples = attributes.componentCount // channels
    if samples not in (1, 3, 4):
        channels, samples = attributes.componentCount, 1
    bits = attributes.bitsPerComponentInMemory
    dtype = np.dtype(f"<{'f' if attributes.pixelDataType == 'float' else 'u'}{bits // 8}")
    height, width = attributes.heightPx, attributes.widthPx or 0
    row = attributes.widthBytes or width * attributes.componentCount * dtype.itemsize
    layout = _Layout(height, width, channels, samples, row, dtype, attributes.compressionType == "lossless")
    if min(height, width, channels) < 1 or row < width * attributes.componentCount * dtype.itemsize:
        raise ValueError(f"its frames claim {height} x {width} px of {attributes.componentCount} components")
    problem = ""
    if attributes.compressionType == "lossy":
        problem = "is packed with loss, in a way that is not read: save it anew in NIS-Elements without compression"
    elif samples > 1 and channels > 1:
        problem = "holds several colour channels: split them in NIS-Elements"
    loops = list(opened.experiment)
    letters = [LOOPS.get(loop.type, "") for loop in loops]
    counts = [loop.count for loop in loops]
    if not all(letter or count == 1 for letter, count in zip(letters, counts, strict=True)):
        problem = "has more axes than time, Z, channel and position: split it in NIS-Elements"
    elif max((letters.count(letter) for letter in "TZP"), default=0) > 1:
        problem = "has the same axis twice, one in the other: split it in NIS-Elements"
    if not loops and attributes.sequenceCount > 1:
        letters, counts = ["T"], [attributes.sequenceCount]
    if math.prod(counts) > MOST_PAGES:
        raise ValueError(f"it claims {math.prod(counts):,} frames")
    sizes = dict(zip(letters, counts, strict=True))
    planes: list[dict[tuple[int, int, int], int]] = [{} for _ in range(sizes.get("P", 1))]
    for number, place in places.items():
        if number < math.prod(counts):
            at = dict(zip(letters, map(int, np.unravel_index(number, counts)), strict=True)) if counts else {}
            planes[at.get("P", 0)][at.get("T", 0), at.get("Z", 0), 0] = place
    shape: tuple[int, ...] = (height, width)
    shape, axes = ((*shape, samples), "YXS") if samples > 1 else (shape, "YX")
    if channels > 1 and samples == 1:
        shape, axes = (channels, *shape), "CYX"
    described, note = _described(path, opened)
    points: Sequence[Any] = next((loop.parameters.points for loop in loops if loop.type == "XYPosLoop"), [])
    return [
        FileImage(
            planes=one,
            promised=(sizes.get("T", 1), sizes.get("Z", 1), 1),
            read=partial(_pixels, path, layout),
            plane_shape=shape,
            plane_axes=axes,
            dtype=dtype.newbyteorder("="),
            calibration=calibration_of(_steps(described, loops)),
            metadata=ImageMetadata(
                channels=() if samples > 1 else _channels(described, channels),
                position=_position(points[number]) if number < len(points) else {},
            ),
            name=_name(points[number], number) if number < len(points) else "",
            note=note,
            problem=problem,
        )
        for number, one in enumerate(planes)
    ]


def _described(path: Path, opened: Any) -> tuple[list[Any], str]:
    """Return what nd2 knows of the channels, and a note where it is nothing."""
    try:
        return list(opened.metadata.channels or ()), ""
    except Exception as error:  # noqa: BLE001 - the pixels are whole, whatever nd2 stumbles over in their description
        return [], f"{path}: pixel size and channels cannot be read ({type(error).__name__}: {error})."


def _pixels(path: Path, layout: _Layout, place: int) -> NDArray[Any]:
    """Return the pixels of a frame: (Y, X), (C, Y, X) or (Y, X, samples)."""
    size = layout.height * layout.row
    try:
        with path.open("rb") as file:
            if layout.is_packed:
                packed = _chunk(file, place, 2 * size + (1 << 20))
                stored = zlib.decompressobj().decompress(packed[HEAD_OF_FRAME:], size)
            else:
                mark, name, _ = CHUNK.unpack(read_at(file, place, CHUNK.size))
                if mark != MARK:
                    raise ValueError(f"the chunk at byte {place:,} is damaged")
                stored = read_at(file, place + CHUNK.size + name + HEAD_OF_FRAME, size)
        if len(stored) < size:
            raise ValueError(f"{len(stored):,} bytes were packed of {size:,}")
    except (ValueError, struct.error, zlib.error) as error:
        raise UnreadableError(f"{path}: {error}") from error
    components = layout.channels * layout.samples
    item = layout.dtype.itemsize
    pixels = np.ndarray(
        (layout.height, layout.width, components),
        layout.dtype,
        stored,
        strides=(layout.row, components * item, item),
    ).astype(layout.dtype.newbyteorder("="))
    if layout.samples > 1:
        return pixels
    return pixels[..., 0] if layout.channels == 1 else np.moveaxis(pixels, -1, 0)


def _steps(described: Sequence[Any], loops: Sequence[Any]) -> dict[str, tuple[object, object]]:
    """Return steps and their units; the time step is the intended one, or the measured one where it is even."""
    volume = described[0].volume if described else None
    is_known = volume is not None and volume.axesCalibrated[0]
    steps: dict[str, tuple[object, object]] = {}
    if volume is not None and is_known:
        steps |= {axis: (volume.axesCalibration[place], "um") for place, axis in enumerate("XY")}
    for loop in loops:
        if loop.type == "ZStackLoop":
            steps["Z"] = (abs(loop.parameters.stepUm), "um")
        elif loop.type in ("TimeLoop", "NETimeLoop"):
            # of a sequence of several phases, only where all are alike
            phases = getattr(loop.parameters, "periods", None) or [loop.parameters]
            periods = {_period(one) for one in phases}
            steps["T"] = (periods.pop() if len(periods) == 1 else None, "ms")
    return steps


def _period(phase: Any) -> float | None:
    """Return the time between two frames, in milliseconds."""
    if phase.periodMs > 0:
        return float(phase.periodMs)
    measured = phase.periodDiff
    spread = max(measured.max - measured.avg, measured.avg - measured.min)
    return float(measured.avg) if 0 < measured.avg and spread <= UNEVEN * measured.avg else None


def _channels(described: Sequence[Any], count: int) -> tuple[dict[str, Any], ...]:
    """Return name, colour and wavelengths of every channel."""
    found: list[dict[str, Any]] = []
    for one in described[:count]:
        channel = one.channel
        told: dict[str, Any] = {"label": printable(str(channel.name))[:200]}
        red, green, blue = (int(getattr(channel.color, part)) & 255 for part in "rgb")
        told["color"] = f"{red:02X}{green:02X}{blue:02X}"
        for key, value in (
            ("EmissionWavelength", channel.emissionLambdaNm),
            ("ExcitationWavelength", channel.excitationLambdaNm),
        ):
            if value:
                told[key] = float(value)
        found.append(told)
    return tuple(found) if len(found) == count else ()


def _position(point: Any) -> dict[str, tuple[float, str]]:
    place = point.stagePositionUm
    return {axis: (float(getattr(place, axis.lower())), "um") for axis in "XY"}


def _name(point: Any, number: int) -> str:
    return printable(str(point.name or f"position {number}"))[:200]
