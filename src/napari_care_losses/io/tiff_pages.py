"""What a TIFF file really holds: its images, and the frames that it promises but that are not there."""

from __future__ import annotations

import logging
import math
import threading
from contextlib import contextmanager
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError, printable
from napari_care_losses.io.untrusted_files import other_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import tifffile

LARGEST_PAGE = 256 * 2**20
"""Bytes up to which a page stored in strips is read as a whole."""

MOST_PAGES = 1_000_000
"""Most pages of a file, each of which has to be looked at."""

MOST_PACKED = 100_000
"""Largest ratio of pixels to stored bytes in a page larger than `LARGEST_PAGE`; zeros reach 30,000."""

LARGEST_XML = 64 * 2**20
"""Most bytes of a companion file."""

MOST_NAMED = 5
"""Most images, files and runs of frames that a message names."""

_FILTERS = threading.Lock()
"""Held while the filters of a log are replaced."""


class AbsentFrames(NamedTuple):
    """Frames that a stack promises and that are not in its files; as text, a sentence about them.

    Attributes
    ----------
    subject : str
        The file, and what is wrong with it.
    shape : tuple of int
        The axes in front of Y and X, as promised.
    indices : sequence of int
        The frames, counted in C order.
    """

    subject: str
    shape: tuple[int, ...]
    indices: Sequence[int]

    def __str__(self) -> str:
        numbers = np.asarray(self.indices)
        runs = [
            f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0])
            for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
        ]
        shown = ", ".join(runs[:MOST_NAMED]) + ", ..." * (len(runs) > MOST_NAMED)
        promised = math.prod(self.shape)
        frames = "frame" if len(numbers) == 1 else "frames"
        return f"{self.subject}: {len(numbers)} of {promised} frames are missing ({frames} {shown}, counted from 0)."

    def whole_steps(self) -> tuple[int, list[int]]:
        """Return the axis along which the fewest steps have to be left out, and the steps that are whole.

        Raises
        ------
        UnreadableError
            If none is.
        """
        is_there = np.ones(self.shape, bool)
        is_there.flat[list(self.indices)] = False
        others = [tuple(axis for axis in range(is_there.ndim) if axis != one) for one in range(is_there.ndim)]
        whole = [np.flatnonzero(is_there.all(axis=axes)).tolist() for axes in others]
        axis = max(range(len(whole)), key=lambda one: len(whole[one]) / self.shape[one], default=None)
        if axis is None or not whole[axis]:
            raise UnreadableError(f"{self} Nothing whole is left: copy the file again.")
        return axis, whole[axis]


@contextmanager
def readable_tiff(path: Path, **options: Any) -> Iterator[tuple[tifffile.TiffFile, list[str]]]:
    """Open a file with tifffile, and collect what it logs of a damaged one; its errors become one clear error.

    Parameters
    ----------
    path : Path
        The file.
    **options
        Of `tifffile.TiffFile`.

    Raises
    ------
    InputError
        If the file is missing, or it or what is done with it while it is open raises an error.
    """
    # loaded when a file is read, not when a widget is opened
    import tifffile

    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with captured_log() as messages, tifffile.TiffFile(path, **options) as tiff:
            yield tiff, messages
    except InputError:
        raise
    except Exception as error:
        reason = error if path.stat().st_size else "it is empty"
        raise InputError(other_format(path) or f"{path} cannot be read as TIFF ({reason}); is it whole?") from error


@contextmanager
def captured_log(library: str = "tifffile") -> Iterator[list[str]]:
    """Collect what a library logs of a damaged file instead of showing it: the caller raises one clear error."""
    messages: list[str] = []
    reading = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        # another thread may read another file meanwhile
        if record.thread != reading:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger(library)
    # a new list each time: another thread that logs may be going through the old one, and would skip a filter
    with _FILTERS:
        logger.filters = [*logger.filters, collect]
    try:
        yield messages
    finally:
        with _FILTERS:
            logger.filters = [one for one in logger.filters if one is not collect]


def image_numbers(series: Sequence[tifffile.TiffPageSeries]) -> list[int]:
    """Return which series of a file are its images: not smaller copies, nor a preview in front of a stack."""
    numbers = [n for n, one in enumerate(series) if not one.keyframe.is_reduced] or list(range(len(series)))
    if len(numbers) > 1:
        first, *others = (series[number] for number in numbers)
        smallest = min(math.prod(one.keyframe.shape) for one in others)
        is_small = first.axes.endswith("S") or math.prod(first.keyframe.shape) < smallest
        if len(first) == 1 and is_small and max(map(len, others)) > 1:
            return numbers[1:]
    return numbers


def is_written_page_by_page(tiff: tifffile.TiffFile) -> bool:
    """Return whether each page was written as an image of its own, and nothing but its pixels tells it apart.

    A program that calls `tifffile.imwrite` with ``append=True`` for every frame of a movie leaves such a file.
    """
    series = tiff.series
    if not tiff.is_shaped or len(series) < 2:
        return False
    if any(len(one) > 1 or one.keyframe.axes != "YX" or one.size > one.keyframe.size for one in series):
        return False
    return len({(one.shape, one.dtype, one.keyframe.description) for one in series}) == 1


def choice_of_images(path: Path, numbers: Sequence[int], described: Sequence[tuple[Sequence[int], str, str]]) -> str:
    """Return the message that names the images of a file, each by its shape, axes and name, and asks for one."""
    named = []
    for number, (shape, axes, name) in zip(numbers[:MOST_NAMED], described, strict=False):
        label = f", {printable(name)[:60]}" if name else ""
        named.append(f"{number} ({' x '.join(map(str, shape))} {axes}{label})")
    more = ", ..." * (len(numbers) > MOST_NAMED)
    return (
        f"{path} holds {len(numbers)} images: {', '.join(named)}{more}. Name one of them ({path / str(numbers[0])}), "
        "or restore one or all of them with --series."
    )


def absent_frames(
    path: Path,
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    full: tuple[int, ...],
    messages: Sequence[str],
) -> AbsentFrames | None:
    """Return the frames of an image that are not in its files; None where all are there.

    Parameters
    ----------
    path : Path
        The file.
    tiff : tifffile.TiffFile
        The file opened.
    series : tifffile.TiffPageSeries
        The image.
    full : tuple of int
        Its shape (..., Y, X).
    messages : sequence of str
        What tifffile logged when it read the structure of the file.

    Raises
    ------
    UnreadableError
        If pages are lost of which nothing says how many they were.
    """
    shape, frame = full[:-2], math.prod(full[-2:])
    count, first = math.prod(shape), tiff.pages.first
    promised = max(count, _promised_by_imagej(tiff, series))
    # ImageJ describes a large stack by a single page
    is_block = promised > count and len(tiff.pages) == 1 and first.is_final
    if is_block or series.dataoffset is not None:
        start = first.dataoffsets[0] if series.dataoffset is None else series.dataoffset
        stored = series.keyframe.parent.filehandle.size - start
        is_there = np.arange(1, (promised if is_block else count) + 1) * (frame * series.dtype.itemsize) <= stored
    else:
        pages = max(1, series.keyframe.size // frame)
        found = [_is_there(series[place]) for place in range(min(len(series), -(-count // pages)))]
        is_there = np.repeat(found, pages)[:count]
    is_there = np.append(is_there, np.zeros(promised - len(is_there), bool))
    if promised > count:
        shape = (promised,)
    if is_there.all():
        if any("invalid page offset" in message for message in messages):
            raise UnreadableError(f"{path} cannot be read whole: it is cut short, copy it again.")
        return None
    lost = [name for name in sorted(named_files(tiff.ome_metadata or "")) if not (path.parent / name).is_file()]
    names = ", ".join(f"{name!r:.80}" for name in lost[:MOST_NAMED])
    reason = f"{names}, named in it, are not beside it" if lost else "it is cut short or incomplete"
    if series.kind == "mmstack":
        reason = "the acquisition was stopped, or files of its set are lost, renamed or cut short"
    return AbsentFrames(f"{path} cannot be read whole, {reason}", shape, np.flatnonzero(~is_there).tolist())


def _is_there(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> bool:
    """Return whether the pixels of a page lie within its file; parts of it may be left out, as sparse files do."""
    if page is None or not any(page.databytecounts):
        return False
    end = max(at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True))
    return bool(end <= page.parent.filehandle.size)


def _promised_by_imagej(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int:
    """Return of how many frames a stack consists by ImageJ's description; 0 where it says nothing."""
    told = tiff.imagej_metadata
    if not told or series.kind == "ome" or len(tiff.series) > 1 or tiff.pages.first.samplesperpixel > 1:
        return 0
    product = math.prod(int(told.get(name, 1)) for name in ("frames", "slices", "channels"))
    return max(int(told.get("images", 0)), product)


def named_files(xml: str) -> set[str]:
    """Return the names of files that an OME-TIFF names as parts of its stack."""
    if "FileName" not in xml:
        return set()
    return {name for element in ElementTree.fromstring(xml).iter() if (name := element.get("FileName"))}


def companion_file(path: Path, xml: str) -> Path | None:
    """Return the file that describes a set of OME-TIFF files where it is another one, such as a.companion.ome.

    Raises
    ------
    InputError
        If that file lies outside the folder, or is missing.
    """
    if "BinaryOnly" not in xml:
        return None
    names = [element.get("MetadataFile") for element in ElementTree.fromstring(xml).iter()]
    name = next((one for one in names if one), "")
    if not name or leaves_folder(name):
        raise InputError(f"{path} is not trusted: it names a file {name!r:.80}, outside its folder.")
    companion = path.parent / name
    if not companion.is_file():
        raise InputError(f"{path} is part of a set that {name!r:.80} describes, which is not beside it: copy it there.")
    return companion


def companion_text(companion: Path) -> str:
    """Return the XML in a companion file.

    Raises
    ------
    InputError
        If it is larger than `LARGEST_XML` bytes.
    """
    if companion.stat().st_size > LARGEST_XML:
        raise InputError(f"{companion} is larger than {LARGEST_XML:,} bytes: is it the description of a set?")
    return companion.read_text(encoding="utf-8")


def leaves_folder(name: str) -> bool:
    """Return whether a name of a file leads out of its folder."""
    return PureWindowsPath(name).name != name or name == ".." or "\0" in name


def check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
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


def check_file_names(path: Path, xml: str) -> None:
    """Refuse an OME-TIFF that names files outside its folder as parts of its stack."""
    for name in named_files(xml):
        if leaves_folder(name):
            raise InputError(f"{path} is not trusted: it names a file {name!r:.80}, outside its folder.")


def check_size(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse a page far larger than any compression could make of the bytes that are there."""
    stored = sum(page.databytecounts)
    if page.nbytes > max(LARGEST_PAGE, MOST_PACKED * stored):
        raise InputError(f"{path} is damaged: it claims frames of {page.nbytes:,} bytes, made of {stored:,}.")
