"""bioimage.io packages that hold a CARE network exported by this project; no code in them is ever run."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

import yaml

from napari_care_losses.core.errors import ModelFileError
from napari_care_losses.core.foreign.confined import read_confined
from napari_care_losses.core.model import Model, ModelCard

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_care_losses.core.foreign.archives import Contents
    from napari_care_losses.core.foreign.confined import Limits

DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")
"""Names of a package's description, the newer first."""

CONFIG_KEY = "napari_care_losses"
"""Under which our card stands in the ``config`` of a package's description."""

READER = Path(__file__).with_name("read_state_dict.py")


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Makes plain values only, and takes no aliases: a few lines of those can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        return super().compose_node(parent, index)


def read_bioimageio(
    contents: Contents, description: str, *, limits: Limits | None = None
) -> Generator[None, None, Model]:
    """Read a package, in steps.

    The network is recognised by the card that `export_bioimageio` puts into the description; its weights are loaded
    into our own network, and the code beside them is not looked at.

    Parameters
    ----------
    contents : Contents
        The package's files.
    description : str
        Name of the description among them.
    limits : Limits, optional
        What reading the weights may use.

    Raises
    ------
    ModelFileError
        If the package is damaged, or holds another network.
    """
    described = _described(contents, description)
    card = _card(described)
    entry = _at(described, "weights", "pytorch_state_dict")
    source, digest = _at(entry, "source"), _at(entry, "sha256")
    if not isinstance(source, str):
        raise ModelFileError("The package does not say which of its files is the PyTorch state dict.")
    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as folder:
        # under a name of our own: a path from a package is never used
        copied = Path(folder) / "weights.pt"
        contents.copy(source.removeprefix("./"), copied)
        if digest is not None and digest != _sha256(copied):
            raise ModelFileError(f"{source} is damaged: its SHA-256 is not the one in {description}.")
        found = yield from read_confined(READER, copied, limits)
    import torch

    model = Model(card, {name: torch.from_numpy(value) for name, value in found.tensors.items()})
    if not all(tensor.isfinite().all() for tensor in model.weights.values()):
        raise ModelFileError("The weights are not finite numbers.")
    model.network()
    return model


def _described(contents: Contents, description: str) -> Any:
    try:
        described = yaml.load(contents.read(description), _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{description} is damaged ({' '.join(str(error).split())[:300]}).") from error
    if _at(described, "type") != "model":
        raise ModelFileError(
            f"{description} does not describe a model but {shortened(_at(described, 'type'))}: it cannot be imported."
        )
    return described


def _card(described: Any) -> ModelCard:
    card = _at(described, "config", CONFIG_KEY, "card")
    if card is None:
        weights = _at(described, "weights")
        kinds = ", ".join(str(kind)[:40] for kind in weights) if isinstance(weights, dict) else "no weights"
        raise ModelFileError(
            f"This package was not exported by napari-care-losses (it has {kinds[:200]}): its network may be any, and "
            "would have to be run by code from the package, which is never done here. Only CARE networks of our own "
            "packages and of CSBDeep can be imported."
        )
    if not isinstance(card, str):
        raise ModelFileError("The model's card in the package is damaged.")
    return ModelCard.from_json(card)


def _at(values: Any, *keys: str) -> Any:
    """Return a value in nested mappings; None where there is none."""
    for key in keys:
        if not isinstance(values, dict):
            return None
        values = values.get(key)
    return values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
