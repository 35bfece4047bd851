"""A foreign model of any kind, into the user's library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from napari_care_losses.compute.steps import finish
from napari_care_losses.interchange.archives import open_contents
from napari_care_losses.interchange.bioimageio.foreign_package import read_program_model
from napari_care_losses.interchange.bioimageio.own_package import read_bioimageio
from napari_care_losses.interchange.bioimageio.rdf import DESCRIPTIONS
from napari_care_losses.interchange.csbdeep.model_folder import CONFIG, read_csbdeep
from napari_care_losses.models.library import new_model_path
from napari_care_losses.models.model import SUFFIX, read_model
from napari_care_losses.models.program import Program
from napari_care_losses.parameters import Parameters
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import chosen_levels

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.interchange.bioimageio.foreign_package import Agrees
    from napari_care_losses.models.model import Model

MARKERS = (*DESCRIPTIONS, CONFIG)
"""The files by which a model's kind is told."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class ImportParameters(Parameters):
    """What a model does not say, or says otherwise."""

    low_percentile: float | None = RestorationParameters.field("low_percentile")
    high_percentile: float | None = RestorationParameters.field("high_percentile")

    def __post_init__(self) -> None:
        super().__post_init__()
        RestorationParameters(**self.to_dict())


def read_foreign(
    path: Path,
    *,
    structure: str | None = None,
    low_percentile: float | None = None,
    high_percentile: float | None = None,
    agrees: Agrees | None = None,
) -> Model:
    """Read a model of CSBDeep, a bioimage.io package, or a model file of ours.

    Parameters
    ----------
    path : Path
        A CSBDeep model folder, a package for bioimage.io, or the folder of one; folders may be packed as zip archives.
        Or a model file of this package, such as one that holds a program nobody has agreed to run here yet.
    structure : str, optional
        One of `napari_care_losses.models.model.STRUCTURES`; what the model says of itself otherwise, "other" where it
        does not.
    low_percentile, high_percentile : float, optional
        Percentiles to use when restoring; by default the model's own, or CSBDeep's where it has none.
    agrees : callable, optional
        Given a `napari_care_losses.errors.ForeignProgram`, says whether it may be run on this machine, now and
        later; without it no code of a package ever is.

    Raises
    ------
    ParameterError
        If the percentiles do not go together, or the model does not normalise by percentiles.
    UnagreedProgramError
        If the model is a program that may not be run.
    ModelFileError
        If the model cannot be read, with the reason.
    """
    return finish(
        reading(
            path, structure=structure, low_percentile=low_percentile, high_percentile=high_percentile, agrees=agrees
        )
    )


def import_model(
    path: Path,
    name: str,
    *,
    structure: str | None = None,
    low_percentile: float | None = None,
    high_percentile: float | None = None,
    agrees: Agrees | None = None,
) -> Path:
    """Read a foreign model and add it to the library.

    Parameters
    ----------
    path, structure, low_percentile, high_percentile, agrees
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
    return finish(
        importing(
            path,
            name,
            structure=structure,
            low_percentile=low_percentile,
            high_percentile=high_percentile,
            agrees=agrees,
        )
    )


def reading(
    path: Path,
    *,
    structure: str | None = None,
    low_percentile: float | None = None,
    high_percentile: float | None = None,
    agrees: Agrees | None = None,
) -> Generator[None, None, Model]:
    """Do what `read_foreign` does in steps; can be closed at any."""
    # before the work, as the name below: what cannot be is no reason to wait
    given = RestorationParameters(low_percentile=low_percentile, high_percentile=high_percentile)
    if path.suffix == SUFFIX and path.is_file():
        model = read_model(path)
        if isinstance(model.card.architecture, Program):
            model = read_program_model(model, agrees=agrees)
    else:
        with open_contents(path, MARKERS) as (contents, marker):
            if marker == CONFIG:
                model = yield from read_csbdeep(contents)
            else:
                model = yield from read_bioimageio(contents, marker, agrees=agrees)
    card = replace(
        model.card,
        structure=structure or model.card.structure,
        normalization=chosen_levels(given, model.card.normalization),
    )
    return replace(model, card=card)


def importing(
    path: Path,
    name: str,
    *,
    structure: str | None = None,
    low_percentile: float | None = None,
    high_percentile: float | None = None,
    agrees: Agrees | None = None,
) -> Generator[None, None, Path]:
    """Do what `import_model` does in steps; can be closed at any."""
    target = new_model_path(name)
    model = yield from reading(
        path, structure=structure, low_percentile=low_percentile, high_percentile=high_percentile, agrees=agrees
    )
    model.save(target)
    return target
