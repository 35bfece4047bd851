"""A foreign model of any kind, into the user's library."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from napari_care_losses.core.foreign.archives import open_contents
from napari_care_losses.core.foreign.bioimageio_import import DESCRIPTIONS, read_bioimageio
from napari_care_losses.core.foreign.csbdeep import CONFIG, read_csbdeep
from napari_care_losses.core.library import new_model_path

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.core.model import Model
    from napari_care_losses.core.normalization import Normalization

MARKERS = (*DESCRIPTIONS, CONFIG)
"""The files by which a model's kind is told."""

Result = TypeVar("Result")


def read_foreign(path: Path, *, structure: str | None = None, normalization: Normalization | None = None) -> Model:
    """Read a model of CSBDeep or a bioimage.io package.

    Parameters
    ----------
    path : Path
        A CSBDeep model folder, a package for bioimage.io, or the folder of one; folders may be packed as zip archives.
    structure : str, optional
        One of `napari_care_losses.core.model.STRUCTURES`; what the model says of itself otherwise, "other" where it
        does not.
    normalization : Normalization, optional
        Percentiles to use when restoring; what the model says otherwise, CSBDeep's defaults where it does not.

    Raises
    ------
    ModelFileError
        If the model cannot be read, with the reason.
    """
    return _finish(reading(path, structure=structure, normalization=normalization))


def import_model(
    path: Path, name: str, *, structure: str | None = None, normalization: Normalization | None = None
) -> Path:
    """Read a foreign model and add it to the library.

    Parameters
    ----------
    path, structure, normalization
        As in `read_foreign`.
    name : str
        What the library is to call it.

    Returns
    -------
    Path
        The model's file in the library.

    Raises
    ------
    InputError
        If the name is no plain file name or is taken.
    ModelFileError
        If the model cannot be read.
    OutputError
        If it cannot be written.
    """
    return _finish(importing(path, name, structure=structure, normalization=normalization))


def reading(
    path: Path, *, structure: str | None = None, normalization: Normalization | None = None
) -> Generator[None, None, Model]:
    """Do what `read_foreign` does in steps; can be closed at any."""
    with open_contents(path, MARKERS) as (contents, marker):
        steps = read_csbdeep(contents) if marker == CONFIG else read_bioimageio(contents, marker)
        model = yield from steps
    card = replace(
        model.card,
        structure=structure or model.card.structure,
        normalization=normalization or model.card.normalization,
    )
    return replace(model, card=card)


def importing(
    path: Path, name: str, *, structure: str | None = None, normalization: Normalization | None = None
) -> Generator[None, None, Path]:
    """Do what `import_model` does in steps; can be closed at any."""
    # before the work: a name that is taken is no reason to wait
    target = new_model_path(name)
    model = yield from reading(path, structure=structure, normalization=normalization)
    model.save(target)
    return target


def _finish(work: Generator[None, None, Result]) -> Result:
    while True:
        try:
            next(work)
        except StopIteration as finished:
            result: Result = finished.value
            return result
