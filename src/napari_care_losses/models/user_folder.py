"""Which foreign programs may be run here: those the user agreed to, by their digest.

A model file travels; the word of the user does not travel with it. The list lies beside the model library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.errors import ModelFileError
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.models.library import library_folder

if TYPE_CHECKING:
    from pathlib import Path

LIST = "agreed_programs.txt"
"""In the library's folder: one SHA-256 a line."""


def is_agreed(sha256: str) -> bool:
    """Return whether the program with this digest may be run here.

    Raises
    ------
    ModelFileError
        If the list cannot be read.
    """
    return sha256 in _agreed(library_folder() / LIST)


def agree(sha256: str) -> None:
    """Note that the program with this digest may be run here.

    Raises
    ------
    ModelFileError
        If the list cannot be read.
    OutputError
        If it cannot be written.
    """
    path = library_folder() / LIST
    agreed = _agreed(path)
    if sha256 not in agreed:
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{one}\n" for one in [*agreed, sha256]), encoding="utf-8")


def _agreed(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split() if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"The list of programs that may be run, {path}, cannot be read: {error}.") from error
