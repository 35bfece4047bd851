"""Stacks in files, whatever their format: TIFF, what microscopes write, OME-Zarr where a name or a folder says so."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.acquisitions.micro_manager import METADATA
from napari_care_losses.io.formats.registry import FORMATS as MAKER_FORMATS
from napari_care_losses.io.formats.registry import is_of_maker, open_image
from napari_care_losses.io.formats.registry import list_images as list_maker_images
from napari_care_losses.io.ome_zarr_plates import list_fields
from napari_care_losses.io.ome_zarr_reader import VERSIONS, group_metadata, is_zarr, read_ome_zarr
from napari_care_losses.io.ome_zarr_writer import OmeZarrStackWriter
from napari_care_losses.io.pixel_types import OUTPUT_TYPES, cast_pixels, check_cast
from napari_care_losses.io.remote.address import RemotePath, located
from napari_care_losses.io.tiff_reader import files_of_set, read_tiff, set_name
from napari_care_losses.io.tiff_reader import list_images as list_tiff_images
from napari_care_losses.io.tiff_writer import TiffStackWriter
from napari_care_losses.io.whole_files import locked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.io.stack_writer import StackWriter

TIFF_SUFFIXES = (".tif", ".tiff")
READ_SUFFIXES = (*TIFF_SUFFIXES, ".stk", ".lsm", *MAKER_FORMATS)
"""How names of files end that are read, MetaMorph's and LSM among TIFF; OME-Zarr is known by what lies in it."""

ZARR_SUFFIX = ".zarr"


class StackFormat(NamedTuple):
    """A file format of stacks: how its names end, how new names end, and what writes it."""

    suffixes: tuple[str, ...]
    new_suffix: str
    writer: type[StackWriter]


FORMATS = {
    "tiff": StackFormat(TIFF_SUFFIXES, ".tif", TiffStackWriter),
    "ome-zarr": StackFormat((ZARR_SUFFIX,), ".ome.zarr", OmeZarrStackWriter),
}
"""The formats that are written, by name."""

NEW_SUFFIXES = {name: one.new_suffix for name, one in FORMATS.items()}
"""How the names of new files end, by format."""


class Saved(NamedTuple):
    """Frames written, frames in all, and pixels so far that had to be clipped to fit the type."""

    done: int
    total: int
    clipped: int


def read_stack(path: Path | str, *, incomplete: bool = False) -> Frames:
    """Open a file as lazy frames, with pixel size and steps.

    Parameters
    ----------
    path : Path or str
        A TIFF, CZI, LIF or ND2 file, or an OME-Zarr image, which may lie behind ``https://`` or ``s3://``; one of
        several images in a file as ``FILE/NUMBER``.
    incomplete : bool
        Whether a stack of which frames are missing is opened without the steps (time points, planes) that are not
        whole.

    Returns
    -------
    Frames
        The stack; a frame is read when it is asked for.

    Raises
    ------
    InputError
        If the file is missing, damaged or incomplete, holds several images, or no stack of grey-level frames.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import napari_care_losses as ncl
    >>> with TemporaryDirectory() as folder:
    ...     clipped = ncl.save_stack(f"{folder}/movie.tif", np.ones((3, 8, 8), np.uint16), axes="TYX")
    ...     frames = ncl.read_stack(f"{folder}/movie.tif")
    ...     frames.axes, frames.shape, int(frames[2].sum())
    ('TYX', (3, 8, 8), 64)
    """
    path = located(path)
    with _readable(path):
        if _is_zarr_like(path):
            return read_ome_zarr(path)
        if is_of_maker(path):
            return open_image(path, incomplete=incomplete).frames(path)
        return read_tiff(path, incomplete=incomplete)


def list_images(path: Path, *, incomplete: bool = False) -> list[Path]:
    """Return the images of a file, each as a path that `read_stack` takes; a file of one image is its own.

    Parameters
    ----------
    path : Path
        The file, OME-Zarr image or plate.
    incomplete : bool
        Whether it may be a plate of which wells or fields are missing.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds no image.
    """
    with _readable(path):
        if _is_zarr_like(path):
            return list_fields(path, incomplete=incomplete)
        return list_maker_images(path) if is_of_maker(path) else list_tiff_images(path)


def _is_zarr_like(path: Path) -> bool:
    return isinstance(path, RemotePath) or is_zarr(path) or is_ome_zarr_name(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # a folder that may not be looked into, a name that is too long
        raise InputError(f"{str(path)[:200]} cannot be read: {error.strerror or error}.") from error


def save_stack(
    path: Path | str,
    image: NDArray[Any] | Frames,
    *,
    axes: str = "",
    calibration: Calibration | None = None,
    dtype: str | None = None,
    zarr_version: str = VERSIONS[0],
) -> int:
    """Write an image or a stack to a file, with its pixel size; an existing file is replaced once the new one is whole.

    Parameters
    ----------
    path : Path or str
        The file to make: OME-Zarr where it ends in ``.zarr``, else OME-TIFF.
    image : array (..., Y, X), or Frames
        The pixels; anything that numpy can index, dask and zarr too.
    axes : str
        Of an array, one letter an axis, as `Frames` takes them.
    calibration : Calibration, optional
        Of an array, pixel size and steps.
    dtype : str, optional
        One of `OUTPUT_TYPES`: integers are rounded and clipped. By default the type of the image.
    zarr_version : str
        One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`, for OME-Zarr.

    Returns
    -------
    int
        Number of pixels clipped to fit the type.

    Raises
    ------
    InputError
        If the folder is missing, another run makes the file, `dtype` is another one, or pixels without a value should
        become integers.
    OutputError
        If the file cannot be written.

    See Also
    --------
    save_frames : The same, giving its progress.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import napari_care_losses as ncl
    >>> image = np.array([[-1.0, 0.4], [254.6, 300.0]])
    >>> with TemporaryDirectory() as folder:
    ...     clipped = ncl.save_stack(f"{folder}/cells.tif", image, dtype="uint8")
    ...     ncl.read_stack(f"{folder}/cells.tif")[0]
    array([[  0,   0],
           [255, 255]], dtype=uint8)
    >>> clipped
    2
    """
    frames = image if isinstance(image, Frames) else Frames(image, axes, calibration or Calibration())
    *_, last = save_frames(Path(path), frames, dtype=dtype, zarr_version=zarr_version)
    return last.clipped


def save_frames(
    path: Path, frames: Frames, *, dtype: str | None = None, zarr_version: str = VERSIONS[0]
) -> Generator[Saved, None, None]:
    """Write a stack frame by frame; closed before the end, nothing is left behind.

    Parameters and errors are those of `save_stack`. NaN marks pixels without a value.

    Yields
    ------
    Saved
        After every frame.
    """
    if dtype not in (None, *OUTPUT_TYPES):
        raise InputError(f"Pixels can be saved as {', '.join(OUTPUT_TYPES)}, found {dtype!r}.")
    make = writer_for(path)
    with locked(path):
        if dtype is not None:
            check_cast(frames, dtype)
        kind = frames.dtype if dtype is None else dtype
        stack = make(path, frames, dtype=kind, job={}, resume=False, zarr_version=zarr_version)
        clipped = 0
        try:
            for index, frame in enumerate(frames):
                if dtype not in (None, "float32") and np.isnan(frame).any():
                    raise InputError(
                        f"Frame {index} holds pixels without a value, which {dtype} cannot express: restore the "
                        "missing frames first, or save as float32."
                    )
                pixels, outside = (frame, 0) if dtype is None else cast_pixels(frame, dtype)
                stack.write(index, pixels)
                clipped += outside
                yield Saved(index + 1, len(frames), clipped)
        except BaseException:
            stack.discard()
            raise
        stack.close()


def writer_for(path: Path) -> type[StackWriter]:
    """Return what writes a file of this name.

    Raises
    ------
    InputError
        If its name ends otherwise than the formats do.
    """
    suffix = path.suffix.lower()
    for one in FORMATS.values():
        if suffix in one.suffixes:
            return one.writer
    known = ", ".join(suffix for one in FORMATS.values() for suffix in one.suffixes)
    raise InputError(f"{path} cannot be written in the format of its name: name it {known}.")


def is_stack(path: Path) -> bool:
    """Return whether a path looks like a whole stack: a file by its name, OME-Zarr by what lies in it."""
    if path.name.startswith(".") or path.name.endswith(".partial"):
        return False
    return (path.suffix.lower() in READ_SUFFIXES and path.is_file()) or is_zarr(path)


def image_files_of(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name, without reading any.

    Positions that Micro-Manager put into folders of their own count as in the folder.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    return [path for path in sorted(folder.iterdir()) if is_stack(path)] + _in_position_folders(folder)


def stacks_of(folder: Path) -> list[Path]:
    """Return the stacks in a folder: its image files, of those that make one stack together only the first.

    Raises as `image_files_of` does.
    """
    return whole_stacks(image_files_of(folder))


def sets_of(folder: Path) -> list[Path]:
    """Return the sets of files of one plane in a folder, each by its first file; raises as `stacks_of`."""
    files = [path for path in sorted(folder.iterdir()) if set_name(path) and is_stack(path)]
    return whole_stacks(files + _in_position_folders(folder))


def _in_position_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        folders = sorted(folder / entry.name for entry in entries if entry.is_dir())
    told = (one for one in folders if (one / METADATA).is_file())
    return [path for one in told for path in sorted(one.iterdir()) if set_name(path) and is_stack(path)]


def whole_stacks(paths: Sequence[Path]) -> list[Path]:
    """Return stacks without the files that belong to the set of an earlier one."""
    parts: set[Path] = set()
    whole = []
    for path in paths:
        if path not in parts:
            whole.append(path)
            named = files_of_set(path) if path.is_file() else set()
            # a renamed copy names other files, which are no part of it
            parts |= named if path in named else set()
    return whole


def is_ome_zarr_name(path: Path) -> bool:
    """Return whether a file of this name is written as OME-Zarr."""
    return path.suffix.lower() == ZARR_SUFFIX


def container_of(path: Path) -> Path:
    """Return the TIFF file or the outermost folder of OME-Zarr that an image lies in; often it is the image itself."""
    if path.parent.is_file():
        return path.parent
    return next((one for one in reversed(path.parents) if is_ome_zarr_name(one) and is_zarr(one)), path)


def image_name(path: Path) -> str:
    """Return the bare name of an image: that of its file or set, then what names it there (row, column and field)."""
    file = container_of(path)
    inside = path.relative_to(file).parts
    name = set_name(file) or bare_name(file)
    return "_".join([name.removesuffix(".ome"), *inside]) if inside else name


def bare_name(path: Path) -> str:
    """Return a file's name without what says that it is TIFF or Zarr."""
    name = path.stem if path.suffix else path.name
    return name[:-4] if is_ome_zarr_name(path) and name.lower().endswith(".ome") else name


def identity_of(path: Path) -> dict[str, Any]:
    """Return what tells a file from another one, and from itself once it was changed.

    An image behind an address is known by its metadata alone: its pixels may be changed without notice.

    Raises
    ------
    OSError, InputError
        If it cannot be read.
    """
    path = located(path)
    if isinstance(path, RemotePath):
        metadata = json.dumps(group_metadata(path), sort_keys=True, default=str)
        return {"path": str(path), "metadata": hashlib.sha256(metadata.encode()).hexdigest()}
    size, modified = size_and_time(path)
    return {"path": str(path.resolve()), "size": size, "modified": modified}


def size_and_time(path: Path) -> tuple[int, int]:
    """Return bytes and time of the last change, in nanoseconds, of a file, its set, or all files of OME-Zarr.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if path.parent.is_file():
        path = path.parent
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    files = files or [str(file) for file in {path} | files_of_set(path) if file == path or file.is_file()]
    statuses = [os.stat(file) for file in files]
    return sum(status.st_size for status in statuses), max(status.st_mtime_ns for status in statuses)
