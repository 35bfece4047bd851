"""Importing models of other tools into the user's library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
from napari_care_losses.restoration.ranges import chosen_normalization

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.interchange.bioimageio.foreign_package import Agrees
    from napari_care_losses.models.model import Model

MARKERS = (*DESCRIPTIONS, CONFIG)
"""The files that tell the kind of a model."""


@dataclass(frozen=True, kw_only=True)
class ImportParameters(Parameters):
    """What replaces the model's own statements, or is missing in them."""

    structure: str | None = None
    """One of `napari_care_losses.models.model.STRUCTURE_NAMES`; by default the model's own, or "other"."""
    low_percentile: float | None = RestorationParameters.field("low_percentile")
    high_percentile: float | None = RestorationParameters.field("high_percentile")
    """Percentiles to use when restoring; by default the model's own, or CSBDeep's where it has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.percentiles()

    def percentiles(self) -> RestorationParameters:
        """Return the percentiles among the parameters of a restoration, which check that they go together."""
        return RestorationParameters(low_percentile=self.low_percentile, high_percentile=self.high_percentile)


def import_model(
    path: Path, name: str, parameters: ImportParameters | None = None, *, agrees: Agrees | None = None
) -> Path:
    """Add a model of CSBDeep, a bioimage.io package, or a model file of this package to the library; return its file.

    Parameters
    ----------
    path : Path
        A CSBDeep model folder, a package for bioimage.io, or the folder of one; folders may be packed as zip archives.
        Or a model file of this package, such as one whose external network may not yet be run on this machine.
    name : str
        Name of the model in the library.
    agrees : callable, optional
        Takes a `napari_care_losses.errors.ForeignProgram` and returns whether it may be run on this machine, now and
        later; by default no code of a package is run.

    Raises
    ------
    InputError
        If the name is not a plain file name or is taken.
    ParameterError
        If the model does not normalise by percentiles but some are given.
    UnagreedProgramError
        If the model is a program that may not be run.
    ModelFileError
        If the model cannot be read, with the reason.
    OutputError
        If it cannot be written.

    Examples
    --------
    A package that `export_bioimageio` writes comes back as the same model:

    >>> import os, tempfile
    >>> from pathlib import Path
    >>> from napari_care_losses.interchange.bioimageio.export import export_bioimageio
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> model = load_model(find_model("fft-lite"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.environ["NAPARI_CARE_LOSSES_LIBRARY"] = folder
    ...     export_bioimageio(model, Path(folder) / "package.zip", name="actin")
    ...     imported = import_model(Path(folder) / "package.zip", "actin from a package")
    ...     print(imported.name, load_model(imported).digest() == model.digest())
    ...     del os.environ["NAPARI_CARE_LOSSES_LIBRARY"]
    actin from a package.safetensors True
    """
    return finish(importing(path, name, parameters, agrees=agrees))


def importing(
    path: Path, name: str, parameters: ImportParameters | None = None, *, agrees: Agrees | None = None
) -> Generator[None, None, Path]:
    """Run `import_model` step by step; can be closed at any step."""
    target = new_model_path(name)
    model = yield from reading(path, parameters, agrees=agrees)
    model.save(target)
    return target


def reading(
    path: Path, parameters: ImportParameters | None = None, *, agrees: Agrees | None = None
) -> Generator[None, None, Model]:
    """Read the model that `import_model` would add to the library, step by step."""
    parameters = parameters or ImportParameters()
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
        structure=parameters.structure or model.card.structure,
        normalization=chosen_normalization(parameters.percentiles(), model.card.normalization),
    )
    return replace(model, card=card)
