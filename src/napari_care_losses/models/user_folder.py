"""The user's folder: their models, and the list of programs of other tools that they agreed to run on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from napari_care_losses.errors import ModelFileError
from napari_care_losses.io.whole_files import make_folder, replacing

FOLDER_VARIABLE = "NAPARI_CARE_LOSSES_LIBRARY"
"""Environment variable that names another folder for the user's models."""

LIST = "agreed_programs.txt"
"""In the folder: the SHA-256 digests of agreed programs, one a line. A model file that travels does not carry it."""


def library_folder() -> Path:
    """Return the folder of the user's models, made if it is missing; raise `InputError` if it cannot be made."""
    named = os.environ.get(FOLDER_VARIABLE)
    default = Path(platformdirs.user_data_dir("napari-care-losses", appauthor=False)) / "models"
    folder = Path(named) if named else default
    make_folder(folder, parents=True, what="model library")
    return folder


def is_agreed(sha256: str) -> bool:
    """Return whether the user agreed to run the program with this digest on this machine."""
    return sha256 in _agreed()


def agree(sha256: str) -> None:
    """Note that the user agreed to run the program with this digest; raise `OutputError` if that cannot be written."""
    agreed = _agreed()
    if sha256 not in agreed:
        with replacing(library_folder() / LIST) as temporary:
            temporary.write_text("".join(f"{digest}\n" for digest in [*agreed, sha256]), encoding="utf-8")


def _agreed() -> list[str]:
    """Return the digests agreed to; raise `ModelFileError` if the list cannot be read."""
    path = library_folder() / LIST
    try:
        return path.read_text(encoding="utf-8").split() if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"The list of programs that may be run, {path}, cannot be read: {error}.") from error
