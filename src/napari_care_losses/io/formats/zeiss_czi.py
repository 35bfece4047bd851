"""CZI of ZEISS: its directory of subblocks, and planes put together of them when they are asked for.

The file is read here, as czifile (BSD-3) describes it: releases of czifile that run on all supported Pythons unpack
neither Zstandard nor a single plane of a file.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError, printable
from napari_care_losses.images.frames import ImageMetadata
from napari_care_losses.io.formats.opened import FileImage, even_step
from napari_care_losses.io.tiff_pages import MOST_PAGES
from napari_care_losses.io.units import calibration_of
from napari_care_losses.io.untrusted_files import LARGEST_XML, read_at, read_xml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from xml.etree import ElementTree

    from numpy.typing import NDArray

SEGMENT = struct.Struct("<16sqq")
"""Head of every segment: its name, the bytes that are kept for it, and those that are used."""

FILE = struct.Struct("<iiii16s16siqqiq")
"""After the head of the file: version, identifiers, part, places of directory and metadata, and of attachments."""

ENTRY = struct.Struct("<2siqiiBB4si")
"""A subblock in the directory: schema, pixel type, place, part, compression, pyramid, and how many dimensions."""

DIMENSION = struct.Struct("<4siifi")
"""A dimension of a subblock: its letter, start and size, a coordinate, and the size stored."""

SUBBLOCK = struct.Struct("<iiq")
"""Of a subblock: the bytes of its metadata, its attachments and its pixels."""

SMALLEST_HEAD = 256
"""Bytes between the head of a subblock's segment and its metadata, at least."""

ATTACHMENT = struct.Struct("<2s10xqi16s8s80s")
"""An attachment in their directory: schema, place, part, identifier, what it is and its name."""

LARGEST_ATTACHMENT = 16 << 20
"""Most bytes of time stamps, eight each."""

PIXELS = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3), 8: ("<f4", 3), 9: ("<u1", 4)} | {
    12: ("<i4", 1),
    13: ("<f8", 1),
}
"""Type and samples of the pixel types that are read; others are complex numbers."""

UNCOMPRESSED, JPEG, LZW, JPEG_XR, ZSTD, ZSTD_PARTED = 0, 1, 2, 4, 5, 6

MOSAIC, SCENE = "M", "S"

IMAGE = "./Metadata/Information/Image"
"""Where the XML describes the image."""

FIRST_DATE = 20_000.0
"""From here on, time stamps may be days since 1900 in place of seconds."""


class _Tile(NamedTuple):
    """A subblock: where it lies, how it is stored, and which pixels of the scene it holds."""

    place: int
    pixel_type: int
    compression: int
    y: int
    x: int
    height: int
    width: int


class _Entry(NamedTuple):
    tile: _Tile
    part: int
    starts: dict[str, int]
    """Where it lies along every dimension, Y and X excepted."""


def read_czi(path: Path) -> list[FileImage]:
    """Return the images of a CZI file: its scenes, or the one image it holds.

    Raises
    ------
    InputError
        If the file is damaged, or one of several that hold an image together.
    """
    try:
        with path.open("rb") as file:
            places = _places(file)
            entries = _directory(file, places["directory"])
            xml = _metadata(file, places["metadata"])
            times = _time_stamps(file, places["attachments"])
    except (ValueError, struct.error) as error:
        raise InputError(f"{path} cannot be read as CZI ({error}); is it whole?") from error
    if any(one.part for one in entries):
        raise InputError(f"{path} holds parts of its image in other files: save it as one file in ZEN.")
    scenes: defaultdict[int, list[_Entry]] = defaultdict(list)
    for one in entries:
        scenes[one.starts.get(SCENE, 0)].append(one)
    if not scenes:
        raise InputError(f"{path} holds no image.")
    names = {} if xml is None else _scene_names(xml)
    return [_image(path, scenes[number], xml, times, names.get(number, "")) for number in sorted(scenes)]


def _segment(file: BinaryIO, place: int, name: bytes) -> int:
    """Return the bytes that a segment of this name uses."""
    found, kept, used = SEGMENT.unpack(read_at(file, place, SEGMENT.size))
    if found.rstrip(b"\0") != name:
        raise ValueError(f"expected {name.decode()} at byte {place:,}, found {found!r}")
    return int(used or kept)


def _places(file: BinaryIO) -> dict[str, int]:
    """Return where directory, metadata and attachments begin; 0 where there are none."""
    _segment(file, 0, b"ZISRAWFILE")
    *_, directory, metadata, pending, attachments = FILE.unpack(read_at(file, SEGMENT.size, FILE.size))
    if pending or not directory:
        raise ValueError("its directory is not written yet: an acquisition was stopped, or still runs")
    return {"directory": directory, "metadata": metadata, "attachments": attachments}


def _directory(file: BinaryIO, place: int) -> list[_Entry]:
    """Return all subblocks of the full resolution."""
    size = _segment(file, place, b"ZISRAWDIRECTORY")
    table = read_at(file, place + SEGMENT.size, size)
    (count,) = struct.unpack_from("<i", table)
    if not 0 <= count <= MOST_PAGES:
        raise ValueError(f"it claims {count:,} subblocks")
    entries, at = [], 128
    for _ in range(count):
        schema, pixel_type, subblock, part, compression, *_, dimensions = ENTRY.unpack_from(table, at)
        if schema != b"DV" or not 0 <= dimensions <= 40:
            raise ValueError(f"an entry of its directory is of the unknown kind {schema!r}")
        at += ENTRY.size
        starts, sizes, is_reduced = {}, {}, False
        for _ in range(dimensions):
            letter, start, length, _, stored = DIMENSION.unpack_from(table, at)
            at += DIMENSION.size
            name = letter.rstrip(b"\0").decode("latin-1")
            starts[name], sizes[name] = start, length
            is_reduced |= name in ("X", "Y") and stored not in (0, length)
        if is_reduced:
            continue
        if not {"X", "Y"} <= sizes.keys() or min(sizes.values()) < 1 or max(map(abs, starts.values())) > 1 << 30:
            raise ValueError(f"a subblock claims the sizes {sizes}")
        several = [name for name, length in sizes.items() if length > 1 and name not in ("X", "Y", MOSAIC)]
        if several:
            raise ValueError(f"a subblock holds several steps along {several[0]}")
        tile = _Tile(subblock, pixel_type, compression, starts.pop("Y"), starts.pop("X"), sizes["Y"], sizes["X"])
        entries.append(_Entry(tile, part, starts))
    return entries


def _metadata(file: BinaryIO, place: int) -> ElementTree.Element[Any] | None:
    """Return the root of the file's XML; None where it has none."""
    if not place:
        return None
    _segment(file, place, b"ZISRAWMETADATA")
    (size,) = struct.unpack("<i", read_at(file, place + SEGMENT.size, 4))
    if not 0 <= size <= LARGEST_XML:
        raise ValueError(f"its XML claims {size:,} bytes")
    text = read_at(file, place + SEGMENT.size + 256, size).rstrip(b"\0")
    return read_xml(text) if text else None


def _time_stamps(file: BinaryIO, place: int) -> list[float]:
    """Return the times of the time points, in seconds; none where the file has none."""
    if not place:
        return []
    _segment(file, place, b"ZISRAWATTDIR")
    (count,) = struct.unpack("<i", read_at(file, place + SEGMENT.size, 4))
    for number in range(min(count, 1000)):
        at = place + SEGMENT.size + 256 + number * ATTACHMENT.size
        _, start, _, _, kind, _ = ATTACHMENT.unpack(read_at(file, at, ATTACHMENT.size))
        if kind.rstrip(b"\0") == b"CZTIMS":
            _segment(file, start, b"ZISRAWATTACH")
            start += SEGMENT.size
            (size,) = struct.unpack("<i", read_at(file, start, 4))
            if not 8 <= size <= LARGEST_ATTACHMENT:
                raise ValueError(f"its time stamps claim {size:,} bytes")
            stored = read_at(file, start + SMALLEST_HEAD, size)
            (times,) = struct.unpack_from("<4xi", stored)
            found = np.frombuffer(stored, "<f8", count=max(0, min(times, (size - 8) // 8)), offset=8)
            return [float(one) for one in found]
    return []


def _image(
    path: Path, entries: Sequence[_Entry], xml: ElementTree.Element[Any] | None, times: Sequence[float], name: str
) -> FileImage:
    """Return the image of a scene."""
    found: defaultdict[tuple[int, int, int], list[tuple[int, _Tile]]] = defaultdict(list)
    steps: defaultdict[str, set[int]] = defaultdict(set)
    for one in entries:
        for letter, start in one.starts.items():
            steps[letter].add(start)
    first = {letter: min(starts) for letter, starts in steps.items()}
    for one in entries:
        time, height, channel = (one.starts.get(letter, 0) - first.get(letter, 0) for letter in "TZC")
        found[time, height, channel].append((one.starts.get(MOSAIC, 0), one.tile))
    planes = {place: tuple(tile for _, tile in sorted(tiles)) for place, tiles in found.items()}
    others = [letter for letter, starts in steps.items() if letter not in ("T", "Z", "C", SCENE, MOSAIC)]
    several = next((letter for letter in others if len(steps[letter]) > 1), "")
    tiles = [tile for plane in planes.values() for tile in plane]
    kinds = {PIXELS.get(tile.pixel_type) for tile in tiles}
    problem = ""
    if several:
        problem = f"has {len(steps[several])} steps along {printable(several)} beside time, Z and channel: process it"
        problem += " in ZEN first, and save one image"
    elif None in kinds:
        problem = "holds pixels that are no real numbers"
    elif len(kinds) > 1 and any(kind and kind[1] > 1 for kind in kinds):
        problem = "holds colour and grey channels side by side: split them in ZEN first"
    types, samples = [np.dtype(kind[0]) for kind in kinds if kind], max((kind[1] for kind in kinds if kind), default=1)
    y, x = min(tile.y for tile in tiles), min(tile.x for tile in tiles)
    shape = (max(tile.y + tile.height for tile in tiles) - y, max(tile.x + tile.width for tile in tiles) - x)
    count = max(map(len, planes.values()))
    dtype = np.result_type(*types) if types else np.dtype("u1")
    return FileImage(
        planes=planes,
        read=partial(_plane, path, (y, x), shape, dtype, samples),
        plane_shape=shape if samples == 1 else (*shape, samples),
        plane_axes="YX" if samples == 1 else "YXS",
        dtype=dtype,
        calibration=calibration_of(_steps(xml, times, len(steps.get("T", ())))),
        metadata=ImageMetadata(channels=_channels(xml, first.get("C", 0), len(steps.get("C", (0,))))),
        name=name,
        note=f"{path}: {count} tiles of every frame were put together by their positions, without blending; pixels "
        "that no tile holds are 0."
        if count > 1
        else "",
        problem=problem,
    )


def _plane(
    path: Path,
    start: tuple[int, int],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    samples: int,
    tiles: tuple[_Tile, ...],
) -> NDArray[Any]:
    """Return the pixels of a plane: those of its tiles, later ones above earlier ones."""
    with path.open("rb") as file:
        if len(tiles) == 1 and (tiles[0].height, tiles[0].width) == shape:
            return _pixels(path, file, tiles[0]).astype(dtype, copy=False)
        plane = np.zeros(shape if samples == 1 else (*shape, samples), dtype)
        for tile in tiles:
            y, x = tile.y - start[0], tile.x - start[1]
            plane[y : y + tile.height, x : x + tile.width] = _pixels(path, file, tile)
        return plane


def _pixels(path: Path, file: BinaryIO, tile: _Tile) -> NDArray[Any]:
    """Return the pixels of a subblock, in the order red, green, blue where it is coloured."""
    try:
        stored = _stored(file, tile.place)
        kind, samples = PIXELS[tile.pixel_type]
        dtype, shape = np.dtype(kind), (tile.height, tile.width) + ((samples,) if samples > 1 else ())
        pixels = _unpacked(stored, tile.compression, shape, dtype)
        if pixels.shape != shape or pixels.dtype != dtype:
            raise ValueError(f"expected {shape} pixels of {dtype}, found {pixels.shape} of {pixels.dtype}")
    except (ValueError, struct.error) as error:
        raise UnreadableError(f"{path}: {error}") from error
    is_reversed = samples > 1 and tile.compression not in (JPEG, JPEG_XR)
    return pixels[..., [2, 1, 0, 3][:samples]] if is_reversed else pixels


def _stored(file: BinaryIO, place: int) -> bytes:
    """Return the bytes in which the pixels of a subblock are packed."""
    _segment(file, place, b"ZISRAWSUBBLOCK")
    start = place + SEGMENT.size
    metadata, _, size = SUBBLOCK.unpack(read_at(file, start, SUBBLOCK.size))
    *_, dimensions = ENTRY.unpack(read_at(file, start + SUBBLOCK.size, ENTRY.size))
    if metadata < 0 or not 0 <= dimensions <= 40:
        raise ValueError("the head of a subblock is damaged")
    head = max(SMALLEST_HEAD, SUBBLOCK.size + ENTRY.size + dimensions * DIMENSION.size)
    return read_at(file, start + head + metadata, size)


def _unpacked(stored: bytes, compression: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels of this shape and type of the bytes in which they are packed."""
    size = int(np.prod(shape)) * dtype.itemsize
    if compression == UNCOMPRESSED:
        if len(stored) < size:
            raise ValueError(f"{len(stored):,} bytes are stored of {size:,}")
        return np.frombuffer(stored, dtype, count=size // dtype.itemsize).reshape(shape)
    import imagecodecs

    unpack: Any = {JPEG: imagecodecs.jpeg_decode, JPEG_XR: imagecodecs.jpegxr_decode}.get(compression)
    try:
        if unpack is not None:
            image: NDArray[Any] = unpack(stored)
            return image
        data, is_parted = stored, False
        if compression == ZSTD_PARTED:
            # the length of a head, then pairs of a kind and a value; kind 1 says whether bytes are parted
            head = stored[0] if stored else 0
            if head not in (1, 3) or (head == 3 and stored[1] != 1):
                raise ValueError("the head of its packed pixels is damaged")
            data, is_parted = stored[head:], head == 3 and bool(stored[2] & 1)
        if compression not in (LZW, ZSTD, ZSTD_PARTED):
            raise ValueError(f"its pixels are packed by method {compression}, which is not read here")
        plain = (imagecodecs.lzw_decode if compression == LZW else imagecodecs.zstd_decode)(data, out=size)
    except (ImportError, RuntimeError) as error:
        # the errors of a codec, or that this build has none
        raise ValueError(f"its packed pixels cannot be unpacked: {error}") from error
    if len(plain) != size:
        raise ValueError(f"{len(plain):,} bytes were packed of {size:,}")
    if is_parted:
        plain = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()
    return np.frombuffer(plain, dtype).reshape(shape)


def _steps(
    xml: ElementTree.Element[Any] | None, times: Sequence[float], count: int
) -> Mapping[str, tuple[object, object]]:
    """Return steps and their units, distances in metres and times in seconds."""
    found: dict[str, tuple[object, object]] = {}
    if xml is not None:
        for distance in xml.iterfind("./Metadata/Scaling/Items/Distance"):
            found[distance.get("Id", "")] = (distance.findtext("Value"), "m")
    interval = None if xml is None else xml.findtext(f"{IMAGE}/Dimensions/T/Positions/Interval/Increment")
    is_measured = len(times) >= count > 1 and times[0] < FIRST_DATE
    measured = even_step(times[:count]) if is_measured else None
    return {**found, "T": (measured if interval in (None, "", "0") else interval, "s")}


def _channels(xml: ElementTree.Element[Any] | None, first: int, count: int) -> tuple[dict[str, Any], ...]:
    """Return name and colour of every channel."""
    if xml is None:
        return ()
    told = xml.findall(f"{IMAGE}/Dimensions/Channels/Channel")[first : first + count]
    shown = xml.findall("./Metadata/DisplaySetting/Channels/Channel")[first : first + count]
    channels: list[dict[str, Any]] = [{} for _ in range(count)]
    for channel, one in zip(channels, told, strict=False):
        if name := one.get("Name") or one.findtext("Fluor"):
            channel["label"] = printable(name)[:200]
        for key in ("ExcitationWavelength", "EmissionWavelength"):
            try:
                channel[key] = float(one.findtext(key) or "")
            except ValueError:
                continue
    for channel, one in zip(channels, shown, strict=False):
        color = (one.findtext("Color") or "").lstrip("#")
        if len(color) in (6, 8) and all(digit in "0123456789abcdefABCDEF" for digit in color):
            # eight digits begin with the opacity
            channel["color"] = color[-6:].upper()
    return tuple(channels) if any(channels) else ()


def _scene_names(xml: ElementTree.Element[Any]) -> dict[int, str]:
    """Return the names of the scenes by their numbers."""
    scenes = xml.findall(f"{IMAGE}/Dimensions/S/Scenes/Scene")
    return {int(one.get("Index", number)): one.get("Name", "") for number, one in enumerate(scenes)}
