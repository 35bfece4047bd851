"""TIFF files and OME-Zarr images spoilt in their bytes, tables and metadata, opened as napari and the commands do."""

from __future__ import annotations

import json
import shutil
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from counts import scaled
from mutations import NUMBERS, TEXTS, json_text, spoil_bytes, spoil_values

if TYPE_CHECKING:
    import random

SUFFIX = ".tif"
"""An OME-Zarr image is a folder of that name: what it is, is told by what lies in it."""

COUNT = 6_000
"""Two thirds of them TIFF."""

CORPUS = Path(__file__).with_name("corpus")
WORDS = (
    "multiscales",
    "axes",
    "datasets",
    "path",
    "shape",
    "chunks",
    "codecs",
    "compressor",
    "filters",
    "fill_value",
    "pickle",
)
LARGEST_READ = 1 << 28
"""Bytes of a frame up to which it is read; larger ones are only opened, for they may well be honest."""

MOST_PIECES = 500
"""Chunks up to which a frame is read, likewise."""

KINDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 0, 99, 65535)


def run(scale: float) -> dict[str, float]:
    """Open spoilt images."""
    from fuzzing import fuzz

    return fuzz("fuzz_images", scaled(COUNT, scale))


def prepare() -> None:
    """Load what images need."""
    import random
    from tempfile import TemporaryDirectory

    import imagecodecs._shared  # noqa: F401

    for place in (CORPUS / "tiff", CORPUS / "zarr"):
        for path in sorted(place.iterdir()):
            with TemporaryDirectory() as folder:
                copied = Path(folder) / "input.tif"
                shutil.copytree(path, copied) if path.is_dir() else shutil.copy(path, copied)
                try:
                    use(copied, random.Random(0))
                except Exception as error:  # noqa: BLE001 - colour images are refused
                    assert "colour" in str(error), error


@cache
def seeds() -> list[bytes]:
    """Return the sound TIFF files."""
    return [path.read_bytes() for path in sorted((CORPUS / "tiff").iterdir())]


def make(rng: random.Random, path: Path) -> None:
    """Write a spoilt image."""
    if rng.random() < 2 / 3:
        whole = rng.choice(seeds())
        how = rng.randrange(4)
        path.write_bytes(
            spoil_bytes(rng, whole, seeds())
            if how == 0
            else _spoilt_text(rng, whole)
            if how == 1
            else _spoilt_table(rng, whole)
        )
    else:
        shutil.copytree(rng.choice(sorted((CORPUS / "zarr").iterdir())), path)
        _spoil_zarr(rng, path)


def _spoilt_table(rng: random.Random, data: bytes) -> bytes:
    """Return a TIFF file with entries of its tables of tags changed: kinds, counts, values, the next table."""
    spoilt = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43
    first, width, head, pointer = (8, 20, 8, "Q") if is_big else (4, 12, 2, "L")
    table = struct.unpack_from(order + pointer, data, first)[0]
    for _ in range(rng.choice((1, 1, 2, 5))):
        if table + head > len(spoilt):
            break
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), spoilt, table)
        entries = min(count, (len(spoilt) - table - head) // width)
        end = table + head + entries * width
        if rng.random() < 0.1 or not entries:
            place = rng.choice((table, 0, 8, len(spoilt) - 1, 2**31, rng.randrange(len(spoilt))))
            if end + struct.calcsize(pointer) <= len(spoilt):
                struct.pack_into(order + pointer, spoilt, end, place)
            continue
        entry = table + head + width * rng.randrange(entries)
        how = rng.randrange(4)
        if how == 0:
            struct.pack_into(order + "H", spoilt, entry + 2, rng.choice(KINDS))
        elif how == 1:
            struct.pack_into(order + pointer, spoilt, entry + 4, rng.choice((0, 1, 2, 1000, 2**16, 2**31, 2**32 - 1)))
        elif how == 2:
            value = rng.choice(
                (0, 1, 2, 3, 7, 8, 64, 255, 2**15, 2**16, 2**20, 2**31 - 1, 2**32 - 1, rng.randrange(2**32))
            )
            struct.pack_into(order + pointer, spoilt, entry + width - struct.calcsize(pointer), value)
        else:
            struct.pack_into(
                order + "H", spoilt, entry, rng.choice((256, 257, 258, 259, 273, 277, 278, 279, 317, 322, 330, 339))
            )
    return bytes(spoilt)


def _spoilt_text(rng: random.Random, data: bytes) -> bytes:
    """Return a TIFF file whose description (OME-XML, ImageJ's or tifffile's) says something else."""
    swaps = [
        *(
            (key, str(number).encode())
            for number in NUMBERS
            for key in (b"images=3", b"frames=3", b'SizeT="3"', b'SizeX="24"')
        ),
        *((b'"shape": [3, 20, 24]', f'"shape": [{number}, 20, 24]'.encode()) for number in NUMBERS),
        (b"DimensionOrder", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>"),
        (b"TiffData", b'TiffData><UUID FileName="../../x"/><TiffData'),
        (b"<OME", b"<OME xmlns:xi='http://www.w3.org/2001/XInclude'"),
        (b"uint16", rng.choice((b"complex128", b"float", b"bit", b"object"))),
        *((b"TYX", axes) for axes in (b"XXX", b"", b"QQQ", b"TYXTYXTYX")),
        *((b"um", text.encode("utf-8", "surrogatepass")[:40]) for text in TEXTS),
    ]
    there = [(old, new) for old, new in swaps if old in data]
    if not there:
        return _spoilt_table(rng, data)
    old, new = rng.choice(there)
    if "=" in old.decode():
        quote = b'"' if b'"' in old else b""
        new = old.split(b"=")[0] + b"=" + quote + new + quote
    start = data.index(old)
    # what lies behind stays where the tables say that it is, as far as that goes
    return (
        data[:start] + new + data[start + max(len(old), len(new)) :] if rng.random() < 0.8 else data.replace(old, new)
    )


def _spoil_zarr(rng: random.Random, path: Path) -> None:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    metadata = [file for file in files if file.name in {"zarr.json", ".zarray", ".zattrs", ".zgroup"}]
    for _ in range(rng.choice((1, 1, 2))):
        file = rng.choice(metadata) if rng.random() < 0.8 else rng.choice(files)
        how = rng.randrange(10)
        if file in metadata and how <= 6:
            try:
                values = json.loads(file.read_bytes())
            except (ValueError, RecursionError):
                continue  # spoilt before
            text = json_text(rng, spoil_values(rng, values, WORDS))
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
        elif file in metadata and how == 7:
            packing = rng.choice(
                ("pickle", "msgpack2", "json2", "vlen-utf8", "categorize", "zfpy", "x", "zlib", "blosc")
            )
            text = file.read_text(errors="replace")
            file.write_text(text.replace('"zstd"', f'"{packing}"').replace('"blosc"', f'"{packing}"'))
        elif how == 8:
            file.unlink()
            file.mkdir() if rng.random() < 0.3 else None
            break
        else:
            file.write_bytes(spoil_bytes(rng, file.read_bytes(), seeds()))


def use(path: Path, rng: random.Random) -> None:
    """Read frames of an image, and open it as napari's File > Open does."""
    import math

    import numpy as np

    from napari_care_losses.io.stacks import list_images, read_stack
    from napari_care_losses.io.tiff_reader import open_tiff
    from napari_care_losses.plugin.reader import get_reader

    reader = get_reader(str(path))
    if reader is not None:
        for data, options, _ in reader(str(path)):
            names = options["name"]
            assert all(name.isprintable() for name in ([names] if isinstance(names, str) else names)), names
            level = data[-1] if isinstance(data, list) else data
            if math.prod(level.shape[-2:]) * level.dtype.itemsize < LARGEST_READ and level.shape[-1]:
                try:
                    np.asarray(level[(0,) * (level.ndim - 2)])
                except Exception:  # noqa: BLE001 - of a layer's pixels napari itself shows what goes wrong
                    pass
    frames = read_stack(path)
    pieces = [
        -(-size // max(1, chunk))
        for size, chunk in zip(frames.shape, getattr(frames.data, "chunks", (1,)), strict=False)
    ]
    if frames.dtype.itemsize * math.prod(frames.frame_shape) < LARGEST_READ and math.prod(pieces[-2:]) < MOST_PIECES:
        for index in sorted({0, len(frames) // 2, len(frames) - 1}):
            frame = frames[index]
            assert frame.shape == frames.frame_shape, (frame.shape, frames.frame_shape)
    if path.is_file():
        for image in list_images(path):
            open_tiff(image, incomplete=True)
