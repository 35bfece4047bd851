"""The model library: the bundled models and the user's own, found by name."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.models.model import SUFFIX, ModelCard, read_card

FOLDER_VARIABLE = "NAPARI_CARE_LOSSES_LIBRARY"
"""Environment variable that names another folder for the user's models."""

AUTHOR, LICENSE = "anonymous", "CC-BY-4.0"
"""What is said of a model whose maker says nothing."""


LONGEST_NAME = 200
"""Bytes of a model's name: most systems take 255, of which some are needed while a file is written."""

# Windows takes them for devices, whatever suffix they have
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


@dataclass(frozen=True)
class LibraryEntry:
    """A model in the library.

    Attributes
    ----------
    name : str
        File name without its suffix; what a user picks.
    path : Path
        The file.
    bundled : bool
        Whether it came with the package.
    card : ModelCard
        What it is.
    """

    name: str
    path: Path
    bundled: bool
    card: ModelCard


def library_folder() -> Path:
    """Return the folder of the user's models, made if it is missing."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = (
        Path(named) if named else Path(platformdirs.user_data_dir("napari-care-losses", appauthor=False)) / "models"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The model library {folder} cannot be made: {error.strerror or error}.") from error
    return folder


def bundled_folder() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(str(resources.files("napari_care_losses"))) / "models" / "bundled"


def makers_of(path: Path) -> tuple[str, str]:
    """Return whom to name as the author of a model and under which licence, where the user says nothing."""
    if path.parent == bundled_folder():
        return "the napari-care-losses developers", "BSD-3-Clause"
    return AUTHOR, LICENSE


def list_models() -> list[LibraryEntry]:
    """Return every readable model, the user's own first, each group by name.

    A damaged file in the library is left out; `load_model` on its path says what is wrong with it.
    """
    entries = []
    for folder, bundled in ((library_folder(), False), (bundled_folder(), True)):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                entries.append(LibraryEntry(path.stem, path, bundled, read_card(path)))
            except ModelFileError:
                continue
    return entries


def find_model(name: str) -> Path:
    """Return the file of a model given by path or by its name in the library.

    Raises
    ------
    ModelFileError
        If there is none.
    """
    path = Path(name)
    # of what is too long for a path, nothing can be looked at
    with suppress(OSError):
        if path.suffix == SUFFIX or path.is_file():
            return path
    entries = list_models()
    for entry in entries:
        if entry.name == name:
            return entry.path
    known = ", ".join(entry.name for entry in entries) or "none yet"
    raise ModelFileError(f"There is no model {name[:100]!r}: neither a file, nor in the library ({known}).")


def new_model_path(name: str) -> Path:
    """Return where the library keeps a new model called `name`.

    Raises
    ------
    InputError
        If the name is empty, is no plain file name, or is taken.
    """
    name = name.strip()
    if (
        not name
        or Path(name).name != name
        or name.startswith(".")
        or name.endswith(".")
        or any(c in r'\/:*?"<>|' for c in name)
        or not name.isprintable()
        or len(name.encode()) > LONGEST_NAME
        or name.partition(".")[0].rstrip().upper() in _RESERVED
    ):
        raise InputError(
            f"A model's name must be a plain file name of at most {LONGEST_NAME} bytes, without / \\ : * ? \" < > |, "
            f"found {name[:100]!r}."
        )
    path = library_folder() / (name + SUFFIX)
    if path.exists() or any(entry.name == name for entry in list_models()):
        raise InputError(f"The library already has a model {name!r}: choose another name.")
    return path
