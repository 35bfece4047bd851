"""A foreign model of any kind, into the user's library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.core.foreign.csbdeep import read_csbdeep
from napari_care_losses.core.library import new_model_path

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.core.normalization import Normalization


def import_model(
    path: Path, name: str, *, structure: str | None = None, normalization: Normalization | None = None
) -> Path:
    """Read a foreign model and add it to the library.

    Parameters
    ----------
    path : Path
        A CSBDeep model folder or its zip archive.
    name : str
        What the library is to call it.
    structure : str, optional
        One of `napari_care_losses.core.model.STRUCTURES`, where the model does not say what it was trained on.
    normalization : Normalization, optional
        Percentiles to use when restoring, where the model does not say.

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
    # before the work: a name that is taken is no reason to wait
    target = new_model_path(name)
    read_csbdeep(path, structure=structure or "other", normalization=normalization).save(target)
    return target
