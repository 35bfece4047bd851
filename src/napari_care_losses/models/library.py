"""The model library: the bundled models and the user's own, found by name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.models.model import SUFFIX, ModelCard, read_card
from napari_care_losses.models.user_folder import library_folder

AUTHOR, LICENSE = "anonymous", "CC-BY-4.0"
"""Author and licence of a model where the user names none."""

LONGEST_NAME = 200
"""Largest length of a model's name, in bytes: most systems allow 255, and the temporary file needs some of them."""

# Windows reads these as devices, whatever their suffix.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


@dataclass(frozen=True)
class LibraryEntry:
    """A model in the library."""

    name: str
    """File name without its suffix; what a user picks."""
    path: Path
    bundled: bool
    """Whether it came with the package."""
    card: ModelCard


def bundled_folder() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(str(resources.files("napari_care_losses"))) / "models" / "bundled"


def makers_of(path: Path) -> tuple[str, str]:
    """Return the author and the licence of a model where the user names none."""
    if path.parent == bundled_folder():
        return "the napari-care-losses developers", "BSD-3-Clause"
    return AUTHOR, LICENSE


def list_models() -> list[LibraryEntry]:
    """Return every readable model, the user's own first, each group sorted by name.

    A damaged file in the library is left out; `load_model` on its path says what is wrong with it.

    Examples
    --------
    >>> from napari_care_losses.models.library import list_models
    >>> actin = next(entry for entry in list_models() if entry.bundled and entry.card.loss == "bandpass")
    >>> actin.name, actin.card.structure, actin.card.preset
    ('actin-bandpass-care', 'actin', 'care')
    """
    entries = []
    for folder, bundled in ((library_folder(), False), (bundled_folder(), True)):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            # a file that is taken away meanwhile raises an `OSError`
            with suppress(ModelFileError, OSError):
                status = path.stat()
                stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
                entries.append(LibraryEntry(path.stem, path, bundled, _card(path, stamp)))
    return entries


@lru_cache(maxsize=1024)
def _card(path: Path, _stamp: tuple[int, ...]) -> ModelCard:
    """Return the card of a file, read again when its stamp has changed: forms ask for all models at every change."""
    return read_card(path)


def find_model(name: str) -> Path:
    """Return the file of a model given by path or by its name in the library.

    Raises
    ------
    ModelFileError
        If there is none.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> find_model("actin-bandpass-care").name
    'actin-bandpass-care.safetensors'
    """
    path = Path(name)
    # A name that is too long for a path raises one.
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
