"""The model library: the bundled models and the user's own, found by name."""

from __future__ import annotations

import hashlib
import itertools
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError, ModelFileError, RenamedModelWarning
from napari_care_losses.io.file_names import LONGEST_NAME, is_file_name, same_file, suggested_file_name
from napari_care_losses.io.whole_files import is_same
from napari_care_losses.models.model import SUFFIX, ModelCard, read_card
from napari_care_losses.models.user_folder import library_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

BUNDLED_LOSSES = ("fft", "bandpass", "laplace")
BUNDLED_SIZES = ("care", "lite", "live")
"""Losses and networks of the bundled models, in the order that they are shown in; the first of both is the default."""

AUTHOR, LICENSE = "anonymous", "CC-BY-4.0"
"""Author and licence of a model where the user names none."""

LONGEST_STEM = 45
"""Largest length of a name that is made of a text, in characters of at most four bytes."""

DIGITS = 16
"""Digits of the SHA-256 of a model's file by which it is named."""

_MARKED = re.compile(r"(.+)@([0-9a-fA-F]{8,64})", re.DOTALL)

# There was a bundled model for each structure.
_OLD_NAME = re.compile(f"(?:actin|mitochondria|dendra)-((?:{'|'.join(BUNDLED_LOSSES)})-(?:{'|'.join(BUNDLED_SIZES)}))")


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
    """Return every readable model: the user's own sorted by name, then the bundled ones by loss and size.

    A damaged file in the library is left out; `load_model` on its path says what is wrong with it.

    Examples
    --------
    >>> from napari_care_losses.models.library import list_models
    >>> [entry.name for entry in list_models() if entry.bundled]
    ['fft-care', 'fft-lite', 'fft-live', 'bandpass-care', 'bandpass-lite', 'bandpass-live', \
'laplace-care', 'laplace-lite', 'laplace-live', 'fft-lite-movie', 'bandpass-lite-movie', 'laplace-lite-movie']
    """
    entries = []
    for folder, bundled in ((library_folder(), False), (bundled_folder(), True)):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            # a file that is taken away meanwhile raises an `OSError`
            with suppress(ModelFileError, OSError):
                entries.append(_entry(path, bundled=bundled))
    return sorted(entries, key=_place)


def _entry(path: Path, *, bundled: bool) -> LibraryEntry:
    status = path.stat()
    stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return LibraryEntry(path.stem, path, bundled, _card(path, stamp))


def _place(entry: LibraryEntry) -> tuple[int, int, int]:
    """Return where a model stands in the list; equal ones keep their order."""
    if not entry.bundled:
        return -1, 0, 0
    card = entry.card
    return card.architecture.neighbours, _rank(card.loss, BUNDLED_LOSSES), _rank(card.preset, BUNDLED_SIZES)


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


@lru_cache(maxsize=1024)
def _card(path: Path, _stamp: tuple[int, ...]) -> ModelCard:
    """Return the card of a file, read again when its stamp has changed: forms ask for all models at every change."""
    return read_card(path)


def quicker_model(entry: LibraryEntry) -> LibraryEntry | None:
    """Return the quickest bundled model of the same loss, to see something of a bundled one at once; None without one.

    Examples
    --------
    >>> from napari_care_losses.models.library import list_models, quicker_model
    >>> entries = {entry.name: entry for entry in list_models()}
    >>> quicker_model(entries["fft-care"]).name, quicker_model(entries["fft-live"])
    ('fft-live', None)
    """
    path = entry.path.with_name(f"{entry.card.loss}-{BUNDLED_SIZES[-1]}{SUFFIX}")
    has_one = entry.bundled and not entry.card.architecture.neighbours and path != entry.path
    return _entry(path, bundled=True) if has_one and path.is_file() else None


def meant_name(name: str, names: Collection[str]) -> str:
    """Return which of the models called `names` is meant by `name`.

    The name itself where there is such a model; the model of every structure for an old bundled one of a single
    structure, with a `RenamedModelWarning`; the `care` model for the bare name of a loss; else the name as it is.

    Examples
    --------
    >>> from napari_care_losses.models.library import meant_name
    >>> meant_name("fft", ["fft-care", "fft-lite"])
    'fft-care'
    """
    if name in names:
        return name
    old = _OLD_NAME.fullmatch(name)
    if old is not None and old[1] in names:
        warnings.warn(f"{name} is now {old[1]}: one model for every structure.", RenamedModelWarning, stacklevel=3)
        return old[1]
    default = f"{name}-{BUNDLED_SIZES[0]}"
    return default if name in BUNDLED_LOSSES and default in names else name


def find_model(name: str) -> Path:
    """Return the file of a model given by path or by its name in the library.

    The bare name of a loss means its bundled `care` model. The user's own models come first. After the name, @ and the
    first digits of the file's SHA-256 may follow, at least eight: then no other file is taken.

    Raises
    ------
    ModelFileError
        If there is none, or it is another file than the digits say.

    Warns
    -----
    RenamedModelWarning
        If the name is that of a former bundled model of one structure.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> find_model("bandpass-lite").name, find_model("fft").name
    ('bandpass-lite.safetensors', 'fft-care.safetensors')
    """
    path = Path(name)
    # A name that is too long for a path raises one.
    with suppress(OSError):
        if path.suffix == SUFFIX or path.is_file():
            return path
    entries = list_models()
    meant = meant_name(name, [entry.name for entry in entries])
    for entry in entries:
        if entry.name == meant:
            return entry.path
    if (marked := _MARKED.fullmatch(name)) is not None:
        return _checked(find_model(marked[1]), *marked.groups())
    known = ", ".join(entry.name for entry in entries) or "none yet"
    raise ModelFileError(f"There is no model {name[:100]!r}: neither a file, nor in the library ({known}).")


def model_word(path: Path | None) -> str:
    """Return what `find_model` takes for a model's file: its name in the library or its path, and its SHA-256.

    Examples
    --------
    >>> find_model(model_word(find_model("fft-lite"))).name, model_word(None)
    ('fft-lite.safetensors', 'MODEL')
    """
    if path is None:
        return "MODEL"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedModelWarning)
        try:
            is_named = not path.stem.startswith("-") and is_same(find_model(path.stem), path)
        except ModelFileError:
            is_named = False
    word = path.stem if is_named else str(path.absolute())
    try:
        return f"{word}@{_sha256(path)[:DIGITS]}"
    except OSError:
        # it has been deleted since it was read
        return word


def _checked(path: Path, name: str, digits: str) -> Path:
    try:
        found = _sha256(path)
    except OSError as error:
        raise ModelFileError(f"There is no model file {path}.") from error
    if not found.startswith(digits.lower()):
        raise ModelFileError(
            f"{name} is another model than was asked for: the SHA-256 of its file begins with {found[: len(digits)]}, "
            f"not with {digits}. Leave out @{digits} to take it all the same."
        )
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def free_name(text: str, taken: Collection[str] = ()) -> str:
    """Return a name for a new model, made of the words of a text; numbered where there is such a model already.

    Parameters
    ----------
    text : str
        Any text, such as the name of an image.
    taken : collection of str
        Names that the model must not have either.

    Examples
    --------
    >>> free_name("Movie 3 (10 ms).tif", taken=["Movie-3-10-ms-tif"])
    'Movie-3-10-ms-tif-2'
    """
    words = "-".join(re.findall(r"[\w+-]+", text))[:LONGEST_STEM]
    stem, known = suggested_file_name(words or "model"), set(map(same_file, _taken_names().union(taken)))
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(name for name in names if same_file(name) not in known)


def new_model_path(name: str) -> Path:
    """Return where the library keeps a new model called `name`.

    Raises
    ------
    InputError
        If the name is empty, is no plain file name, or is taken.
    """
    name = name.strip()
    if not is_file_name(name):
        raise InputError(
            f"A model's name must be a plain file name of at most {LONGEST_NAME} bytes, without / \\ : * ? \" < > |, "
            f"not ending in a dot and none that Windows keeps for a device (con, nul, com1), found {name[:100]!r}."
        )
    path = library_folder() / (name + SUFFIX)
    if same_file(name) in map(same_file, _taken_names()):
        raise InputError(f"The library already has a model {name!r}: choose another name.")
    return path


def _taken_names() -> set[str]:
    """Return the names that no new model may have, those of damaged files too, which are not listed."""
    return {other.stem for other in library_folder().glob(f"*{SUFFIX}")} | {entry.name for entry in list_models()}
