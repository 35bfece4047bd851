"""What is asked of a TIFF file before it is read: no microscope writes such, but anybody can."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Literal

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import tifffile

LARGEST_PAGE = 256 * 2**20
"""Bytes up to which a page stored in strips is read as a whole."""

MOST_PAGES = 1_000_000
"""Pages of a file at most, each of which has to be looked at."""

MOST_PACKED = 100_000
"""How many times fewer bytes a page larger than that may be stored in: zeros shrink to a thirty-thousandth."""


def check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose pages, of which each says where the next lies, come back to one of them without end."""
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


def check_neighbours(path: Path, xml: str) -> None:
    """Refuse an OME-TIFF that says that parts of its stack lie in files outside its folder."""
    if "FileName" not in xml:
        return
    for element in ElementTree.fromstring(xml).iter():
        name = element.get("FileName", "")
        if PureWindowsPath(name).name != name or name == ".." or "\0" in name:
            raise InputError(f"{path} is not trusted: it names a file {name!r:.80}, outside its folder.")


def check_claim(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse a page far larger than any packing could make of the bytes that are there."""
    stored = sum(page.databytecounts)
    if page.nbytes > max(LARGEST_PAGE, MOST_PACKED * stored):
        raise InputError(f"{path} is damaged: it claims frames of {page.nbytes:,} bytes, made of {stored:,}.")
