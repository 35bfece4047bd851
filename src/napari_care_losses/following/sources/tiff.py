"""A TIFF file that is being written: its pages come one after the other."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.errors import InputError
from napari_care_losses.following.source import Arrived, Layout
from napari_care_losses.following.sources.polling import PolledSource, state_of
from napari_care_losses.following.sources.tiff_layout import layout_of, promised_in_one_block
from napari_care_losses.images.frames import Calibration, ImageMetadata
from napari_care_losses.io.tiff_pages import captured_log
from napari_care_losses.io.tiff_reader import describe_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tifffile
    from numpy.typing import NDArray

SETTLE_SECONDS = 0.02
"""Seconds after which a frame without a page of its own counts: what comes next may be no frame."""

OTHER_SECONDS = 1.0
"""Seconds after which a page of another shape counts as one; before, it may be half-written."""

LOOKED_AT = 2.0
"""Seconds after the last change of the file in which it is still read."""


class _Block(NamedTuple):
    """Frames that follow one another without pages of their own, as ImageJ and tifffile write them."""

    start: int
    size: int
    most: float


class TiffSource(PolledSource):
    """A TIFF file being written, page after page, or as one block of frames; see `PolledSource`.

    A frame is complete once all its bytes lie in the file. The file is opened for each look and each frame only.

    Parameters
    ----------
    path : Path
        The file, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._layout: Layout | None = None
        self._pages: list[int] = []
        self._block: _Block | None = None
        self._next = self._last = self._size = self._others = 0
        self._unlike: tuple[int, float] = (0, 0.0)
        self._reached: list[float] = []
        self._state, self._changed = (0, 0), 0.0
        self._problem = ""

    @property
    def layout(self) -> Layout | None:
        """As `napari_care_losses.following.source.Source`."""
        return self._layout

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame of the file."""
        import tifffile

        assert self._layout is not None
        with self._opened() as tiff:
            if number < len(self._pages):
                tiff.filehandle.seek(self._pages[number])
                return tifffile.TiffPage(tiff, number).asarray().reshape(self._layout.frame_shape)
            assert self._block is not None
            tiff.filehandle.seek(self._block.start + number * self._block.size)
            kind = self._layout.dtype.newbyteorder(tiff.byteorder)
            pixels: NDArray[Any] = tiff.filehandle.read_array(kind, math.prod(self._layout.frame_shape))
            return pixels.reshape(self._layout.frame_shape)

    def _look(self) -> Arrived:
        state = state_of(self.path)
        if state is None:
            if self._layout is not None:
                raise InputError(f"{self.path} is no longer there: was it moved, or its drive taken away?")
            return Arrived(0)
        if state[0] < self._size:
            raise InputError(f"{self.path} has become shorter: another file took its place. Follow it anew.")
        now = time.monotonic()
        if state != self._state:
            self._state, self._changed = state, now
        # longer than it changes: what is noted last, where the next page lies, may not show
        if now - self._changed < LOOKED_AT:
            with suppress(OSError):
                self._read(state[0])
        count = len(self._pages)
        if self._block is not None and count == 1:
            count = sum(now - since >= SETTLE_SECONDS for since in self._reached) or count
            for number, since in enumerate(self._reached[self._counted : count], start=self._counted):
                self._seen_since([number], since)
        note = f"{self._others} pages of another shape were left out." if self._others else ""
        return Arrived(count if self._layout is not None else 0, note=note or self._problem)

    def _read(self, size: int) -> None:
        """Go on in the chain of pages from where the last look ended."""
        import tifffile

        try:
            with self._opened() as tiff:
                if self._layout is None and not self._begin(tiff, size):
                    return
                while self._next and self._next < size:
                    tiff.filehandle.seek(self._next)
                    page = tifffile.TiffPage(tiff, len(self._pages))
                    if not self._take(page, size):
                        break
                    self._next = _following(tiff, self._next)
                if self._next == 0 and self._pages:
                    # the last page so far: its end is looked at again
                    self._next = _following(tiff, self._last)
                self._size, self._problem = size, ""
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - half-written files raise errors of every kind; the next look sees more
            self._problem = f"Waiting for its first frame ({error})." if self._layout is None else ""
            return
        block = self._block
        if block is not None and len(self._pages) == 1 and not 0 < self._next < size:
            there = min((size - block.start) // block.size, block.most)
            self._reached += [time.monotonic()] * max(0, int(there) - len(self._reached))

    def _begin(self, tiff: tifffile.TiffFile, size: int) -> bool:
        """Learn from the first page, once it is whole, what all have in common."""
        first = tiff.pages.first
        if not _is_whole(first, size):
            return False
        calibration, metadata = Calibration(), ImageMetadata()
        # what is not there yet is left out
        with suppress(InputError):
            calibration, metadata = describe_tiff(self.path)
        self._layout = layout_of(self.path, tiff, calibration, metadata)
        self._next = self._last = int(first.offset)
        most = promised_in_one_block(tiff)
        if most > 1 and first.is_contiguous and first.compression == 1:
            self._block = _Block(int(first.dataoffsets[0]), int(first.nbytes), most)
        return True

    def _take(self, page: tifffile.TiffPage, size: int) -> bool:
        """Count a page if it is whole; return whether the next one can be looked at."""
        assert self._layout is not None
        if not _is_whole(page, size):
            return False
        if page.shape != self._layout.frame_shape or page.dtype != self._layout.dtype:
            now = time.monotonic()
            if self._unlike[0] != page.offset:
                self._unlike = (int(page.offset), now)
            if now - self._unlike[1] < OTHER_SECONDS:
                return False
            self._unlike = (0, 0.0)
            self._others += 1
        else:
            self._pages.append(int(page.offset))
        self._last = int(page.offset)
        return True

    @contextmanager
    def _opened(self) -> Iterator[tifffile.TiffFile]:
        import tifffile

        with captured_log(), tifffile.TiffFile(self.path) as tiff:
            yield tiff


def _is_whole(page: tifffile.TiffPage, size: int) -> bool:
    """Return whether all bytes of a page's pixels lie in the file."""
    counts = page.databytecounts
    if not counts or not all(counts) or not page.imagewidth or not page.imagelength:
        return False
    return bool(max(at + count for at, count in zip(page.dataoffsets, counts, strict=True)) <= size)


def _following(tiff: tifffile.TiffFile, page: int) -> int:
    """Return where the page after another lies; 0 where there is none yet."""
    file, kind = tiff.filehandle, tiff.tiff
    order: Any = "little" if tiff.byteorder == "<" else "big"
    file.seek(page)
    tags = int.from_bytes(file.read(kind.tagnosize), order)
    file.seek(page + kind.tagnosize + tags * kind.tagsize)
    return int.from_bytes(file.read(kind.offsetsize), order)
