"""FORMATS, the table of what programs of microscope makers write: which ending is read by what."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError
from napari_care_losses.io.formats.opened import OpenedImage, chosen_number, named_image, without_absent

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.io.formats.opened import FileImage

FORMATS = {
    ".czi": "zeiss_czi:read_czi",
    ".lif": "leica_lif:read_lif",
    ".nd2": "nikon_nd2:read_nd2",
}
"""By ending, the function of a module beside this one that returns the images of a file."""


def is_of_maker(path: Path) -> bool:
    """Return whether a path names a file of one of `FORMATS`, or an image in it."""
    return _file(path).suffix.lower() in FORMATS


def list_images(path: Path) -> list[Path]:
    """Return the images of a file: itself where it holds one, else ``FILE/NUMBER``; raises as `open_image`."""
    count = len(_images(path))
    return [path] if count == 1 else [path / str(number) for number in range(count)]


def open_image(path: Path, *, incomplete: bool = False) -> OpenedImage:
    """Open an image of a file.

    Parameters
    ----------
    path : Path
        The file; of a file of several images, ``FILE/NUMBER``.
    incomplete : bool
        Whether an image of which frames are missing is opened, without the steps (time points, planes) they belong to.

    Raises
    ------
    InputError
        If the file is missing or damaged, holds several images, or none that can be read.
    UnreadableError
        If frames are missing.
    MissingLibraryError
        If the library that reads such files is not installed.
    """
    file, number = named_image(path)
    images = _images(file)
    described = [(*one.layout, one.name) for one in images]
    image = images[chosen_number(file, number, list(range(len(images))), described)]
    opened, absent = image.opened(file)
    return without_absent(opened, absent, incomplete=incomplete)


def _file(path: Path) -> Path:
    return path.parent if path.name.isdecimal() and path.parent.suffix.lower() in FORMATS else path


def _images(path: Path) -> list[FileImage]:
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    module, name = FORMATS[path.suffix.lower()].split(":")
    # loaded when such a file is read: its library need not be there
    found: list[FileImage] = getattr(import_module(f"napari_care_losses.io.formats.{module}"), name)(path)
    return found
