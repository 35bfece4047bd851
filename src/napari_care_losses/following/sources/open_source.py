"""Files and folders opened as growing sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError
from napari_care_losses.following.sources.folder import FolderSource
from napari_care_losses.following.sources.ome_zarr import OmeZarrSource
from napari_care_losses.following.sources.tiff import TiffSource
from napari_care_losses.io.ome_zarr_plates import is_plate
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.remote.address import is_address
from napari_care_losses.io.stacks import TIFF_SUFFIXES, ZARR_SUFFIX
from napari_care_losses.io.written_frames import partial_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_care_losses.following.sources.polling import PolledSource


def open_source(
    path: Path, *, order: Path | None = None, resumes: bool = False, skipped: Iterable[Path] = ()
) -> PolledSource:
    """Return the growing source that a path names, by what is there, or by its name where nothing is there yet.

    Parameters
    ----------
    path : Path
        A TIFF file or OME-Zarr image being written, a result of this package that is still partial, or a folder into
        which files arrive.
    order, resumes, skipped
        Of a folder, as in `napari_care_losses.following.sources.folder.FolderSource`.

    Raises
    ------
    InputError
        If it is something else or on another machine, or its own folder is missing.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     source = open_source(Path(folder) / "coming.ome.tif")
    >>> source.poll().count, source.layout
    (0, None)
    """
    if is_address(path):
        raise InputError(f"{path} is the address of another machine: only what lies here or on a drive is followed.")
    name = path.name.lower()
    is_partial = name.endswith(partial_path(path.with_name(ZARR_SUFFIX)).name)
    if not path.exists() and not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist: nothing can arrive there.")
    if is_zarr(path) or name.endswith(ZARR_SUFFIX) or is_partial:
        if is_zarr(path) and is_plate(path):
            raise InputError(f"{path} is a plate: follow the image of one field, such as {path.name}/A/1/0.")
        return OmeZarrSource(path)
    if name.endswith(TIFF_SUFFIXES) and not path.is_dir():
        return TiffSource(path)
    if path.is_dir():
        return FolderSource(path, order=order, resumes=resumes, skipped=skipped)
    raise InputError(f"{path} cannot be followed: name a folder that exists, a TIFF file (.tif) or OME-Zarr (.zarr).")
