"""OME-TIFF files written one frame at a time in any order."""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.io.ome_metadata import for_ome_xml
from napari_care_losses.io.stack_writer import StackWriter
from napari_care_losses.io.whole_files import patiently

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames


class TiffStackWriter(StackWriter):
    """An OME-TIFF file being written (BigTIFF from 4 GB on), uncompressed; see `StackWriter`.

    The first bytes of the partial file are zero, so that no program opens it: `close` writes them.
    """

    def _checked_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        wider: dict[str, np.dtype[Any]] = {"bool": np.dtype(np.uint8), "float16": np.dtype(np.float32)}
        stored = wider.get(dtype.name, dtype)
        if stored.name in ("int64", "uint64") or stored.itemsize > 8:
            raise InputError(f"OME-TIFF cannot store pixels of {dtype.name}: convert them, or save as OME-Zarr.")
        return stored

    @property
    def _frame_bytes(self) -> int:
        return math.prod(self._like.frame_shape) * self._dtype.itemsize

    def _accepts(self, values: dict[str, Any]) -> bool:
        # without a head it is of an earlier version
        if not self.partial.is_file() or "head" not in values:
            return False
        try:
            offset, head = int(values["offset"]), bytes.fromhex(values["head"])
        except (KeyError, ValueError, TypeError, OverflowError):
            offset, head = -1, b""
        if not len(head) <= offset:
            raise ResumeError(f"{self.partial} is damaged: leave out --resume to start afresh, or remove it.")
        self._offset, self._head = offset, head
        return self.partial.stat().st_size >= offset + len(self._like) * self._frame_bytes

    def _create(self) -> dict[str, Any]:
        # loaded when a file is written, not when a widget is opened
        import tifffile

        like = self._like
        with (
            _Headless(self.partial, "w+") as file,
            tifffile.TiffWriter(file, ome=True, bigtiff=self._frame_bytes * len(like) >= 2**32 - 2**25) as tiff,
        ):
            offset, _ = tiff.write(  # type: ignore[misc]
                data=None,
                shape=like.shape,
                dtype=self._dtype,
                photometric="minisblack",
                metadata=for_ome_xml(like),
                software=self._mark,
                returnoffset=True,
                **_resolution(like),
            )
        self._offset, self._head = int(offset), file.head
        return {"offset": self._offset, "head": self._head.hex()}

    def _open(self) -> None:
        self._file = self._opened.enter_context(self.partial.open("r+b"))

    def _store(self, index: int, frame: NDArray[Any]) -> None:
        self._file.seek(self._offset + index * self._frame_bytes)
        self._file.write(np.ascontiguousarray(frame, dtype=self._dtype).data)
        self._file.flush()

    def _finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._head)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        patiently(os.replace, self.partial, self.path)

    @staticmethod
    def _read_mark(path: Path) -> str | None:
        import tifffile

        if not path.is_file():
            return None
        try:
            with tifffile.TiffFile(path) as tiff:
                return tiff.pages.first.software
        except (tifffile.TiffFileError, OSError):
            return None


class _Headless(io.FileIO):
    """A file whose first four bytes, by which programs recognise its format, are held back and stay zero."""

    head = b""

    def write(self, data: Any, /) -> int:
        missing = 4 - self.tell()
        if missing <= 0:
            return super().write(data)
        held, rest = bytes(data[:missing]), bytes(data[missing:])
        self.head += held
        return super().write(bytes(len(held)) + rest)


def _resolution(like: Frames) -> dict[str, Any]:
    if not like.calibration.pixel_size:
        return {}
    height, width = like.calibration.pixel_size
    return {"resolution": (1e4 / width, 1e4 / height), "resolutionunit": "CENTIMETER"}
