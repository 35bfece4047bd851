"""Values and tensors from files that anybody may have made: bounded in size, safe to show, never run."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.etree import ElementTree

from napari_care_losses.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEEPEST = 32
"""Largest depth of lists and tables in one another."""

LARGEST_WHOLE = 10**40
"""Largest whole number; far larger ones can be neither printed nor turned into a float."""

LARGEST_JSON = 16 << 20
"""Most characters of JSON; as Python objects they may take thirty times as many bytes."""

LARGEST_HEADER = 32 << 20
"""Most bytes in the header of a safetensors file, which is parsed whole; models have a few thousand."""

LARGEST_XML = 64 << 20
"""Most characters of XML; a movie of a hundred thousand frames has a few million."""

OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive: unpack it first, OME-Zarr into a folder whose name ends in .zarr",
    b"\x89PNG": "a PNG image: save it as TIFF",
    b"\xff\xd8\xff": "a JPEG image: save the original as TIFF",
    b"\x89HDF": "an HDF5 file: save the images in it as TIFF",
    b"\x1f\x8b": "a gzip archive: unpack it first",
}
"""What files are that are no images to be read here, by their first bytes, and what to do."""


def other_format(path: Path) -> str:
    """Return what a file is and what to do, where it is one of `OTHER_FORMATS`; else nothing."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(4)
    return next((f"{path} is {text}." for magic, text in OTHER_FORMATS.items() if start.startswith(magic)), "")


def checked(value: Any, *, deepest: int = DEEPEST) -> Any:
    """Return plain values (from JSON, YAML or TOML) with all their text printable.

    Raises
    ------
    ValueError
        If they are nested too deeply, or a whole number is too large.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, int):
        if abs(value) > LARGEST_WHOLE:
            raise ValueError("a whole number is too large")
        return value
    if not isinstance(value, dict | list):
        return value
    if deepest == 0:
        raise ValueError(f"more than {DEEPEST} levels of lists and tables")
    if isinstance(value, list):
        return [checked(one, deepest=deepest - 1) for one in value]
    return {checked(key, deepest=0): checked(one, deepest=deepest - 1) for key, one in value.items()}


def read_json(text: str | bytes) -> Any:
    """Return the values of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON, too long, nested too deeply, or holds a whole number that is too large.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"more than {LARGEST_JSON:,} characters")
    try:
        return checked(json.loads(text))
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} levels of lists and tables") from None


def read_xml(text: str | bytes) -> ElementTree.Element[Any]:
    """Return the root of an XML document that declares nothing: no entities, no document type.

    Raises
    ------
    ValueError
        If it is damaged, longer than `LARGEST_XML`, or declares something.
    """
    if len(text) > LARGEST_XML:
        raise ValueError(f"its XML has more than {LARGEST_XML:,} characters")
    if "<!DOCTYPE" in (text if isinstance(text, str) else text.replace(b"\0", b"").decode("latin-1")):
        raise ValueError("its XML declares a document type, as no microscope writes it")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"its XML is damaged: {error}") from error


def read_at(file: BinaryIO, place: int, size: int) -> bytes:
    """Return `size` bytes of a file that begin at a place.

    Raises
    ------
    ValueError
        If it does not hold them: nothing is taken into memory for bytes that are not there.
    """
    end = file.seek(0, 2)
    if not 0 <= place <= place + size <= end:
        raise ValueError(f"{size:,} bytes at {place:,} lie outside of it, which has {end:,}")
    file.seek(place)
    return file.read(size)


def nan_as_null(value: Any) -> Any:
    """Return plain values for a JSON text: NaN and infinities, which JSON does not have, become None."""
    if isinstance(value, dict):
        return {key: nan_as_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def open_tensors(path: Path, framework: str) -> Iterator[Any]:
    """Open a safetensors file, as `safetensors.safe_open` does.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If its header is larger than `LARGEST_HEADER`, or it is too large for the memory.
    SafetensorError
        If it is damaged.
    """
    from safetensors import safe_open

    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_HEADER:
        raise ValueError(f"its header claims {size:,} bytes")
    try:
        opened = safe_open(path, framework=framework)
    except RuntimeError as error:
        # torch raises it for a file larger than the memory can be mapped to
        raise ValueError(str(error)) from error
    with opened as file:
        yield file


def copied_tensors(file: Any) -> dict[str, Any]:
    """Return all tensors of a file opened by `open_tensors` for torch, copied.

    Those that it hands out lie in the file, which Windows then refuses to replace or delete.
    """
    return {name: file.get_tensor(name).clone() for name in file.keys()}


def copied_arrays(file: Any) -> dict[str, Any]:
    """Return all tensors of a file opened by `open_tensors` for NumPy, as arrays that are copies, as `copied_tensors`.

    NumPy has not all types that a file may hold: it raises a `TypeError` for others.
    """
    return {name: file.get_tensor(name).copy() for name in file.keys()}
