"""Reading bioimage.io packages: own ones, which this package exported, and those of others."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import ModelFileError
from napari_care_losses.interchange.bioimageio.foreign_package import READ_STATE_DICT, read_foreign_package
from napari_care_losses.interchange.bioimageio.rdf import at, copy_checked, read_description
from napari_care_losses.interchange.sandbox import read_confined
from napari_care_losses.models.model import Model, ModelCard

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_care_losses.interchange.archives import Contents
    from napari_care_losses.interchange.bioimageio.foreign_package import Agrees
    from napari_care_losses.interchange.sandbox import Limits

CONFIG_KEY = "napari_care_losses"
"""Key of the model's card in the ``config`` of an own package."""


def read_bioimageio(
    contents: Contents, description: str, *, agrees: Agrees | None = None, limits: Limits | None = None
) -> Generator[None, None, Model]:
    """Read a package, step by step.

    An own package is recognised by the card that `export_bioimageio` writes into the description. Its weights are
    loaded into `CareNetwork`; the code beside them is not used.

    Parameters
    ----------
    contents : Contents
        The package's files, `description` among them.
    agrees : callable, optional
        As in `napari_care_losses.interchange.import_model.import_model`.
    limits : Limits, optional
        Of reading the weights.

    Raises
    ------
    UnagreedProgramError
        If the package holds only an external program that the user has not agreed to run.
    ModelFileError
        If the package is damaged, or holds nothing that can be used.
    """
    described = read_description(contents, description)
    card = at(described, "config", CONFIG_KEY, "card")
    if card is None:
        return (yield from read_foreign_package(contents, described, agrees=agrees, limits=limits))
    return (yield from _own(contents, described, card, limits))


def _own(
    contents: Contents, described: dict[str, Any], text: Any, limits: Limits | None
) -> Generator[None, None, Model]:
    if not isinstance(text, str):
        raise ModelFileError("The model's card in the package is damaged.")
    card = ModelCard.from_json(text)
    entry = at(described, "weights", "pytorch_state_dict")
    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as folder:
        copied = copy_checked(contents, entry, Path(folder) / "weights.pt", "PyTorch state dict")
        found = yield from read_confined(READ_STATE_DICT, copied, limits)
    model = Model(card, found.tensors)
    if not model.is_finite:
        raise ModelFileError("The weights are not finite numbers.")
    model.network()
    return model
