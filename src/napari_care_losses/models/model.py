"""A trained model: the network's weights and a card that says what it is, in one ``.safetensors`` file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.images.normalization import Levels, Normalization, levels_from_dict, levels_to_dict
from napari_care_losses.io.untrusted_files import open_tensors, read_json
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.program import TENSOR, Program

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.models.unet import CareNetwork

SUFFIX = ".safetensors"
HEADER = "napari_care_losses"
FORMAT = 1
"""Version of the card's layout; files of a later one are refused."""

LARGEST_NETWORK = 1 << 26
"""Weights of a network at most; CARE's has a million."""

STRUCTURES = ("actin", "mitochondria", "dendra", "other")
"""What a model was trained to see."""

CIRCUMSTANCES = ("seconds", "date")
"""Entries of a card's provenance in which two runs of one training differ."""

_WORDS = {"actin": "actin", "mito": "mitochondria", "dendra": "dendra"}
"""By which names tell a structure."""


def structure_named(text: str) -> str | None:
    """Return which of `STRUCTURES` a name tells, such as that of a file; None if it tells none."""
    return next((structure for word, structure in _WORDS.items() if word in text.lower()), None)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model file says of itself.

    Attributes
    ----------
    structure : str
        One of `STRUCTURES`.
    loss : str
        Name of the training loss.
    loss_parameters : dict
        Its parameters.
    preset : str
        Name of the architecture's preset, or "custom".
    architecture : Architecture or Program
        Shape of the network, or what there is to know of a foreign one.
    normalization : Levels
        Percentiles to use when restoring, or what foreign networks have in their place.
    training : dict
        Provenance as plain values: settings, pairs, steps, losses reached, versions, date.
    statistics : dict
        What the low-exposure images trained on look like, from `matching.summarize`; empty where unknown.
    """

    structure: str
    loss: str
    loss_parameters: dict[str, Any] = field(default_factory=dict)
    preset: str = "custom"
    architecture: Architecture | Program
    normalization: Levels = field(default_factory=Normalization)
    training: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise InputError(f"structure must be one of {', '.join(STRUCTURES)}; found {shortened(self.structure)}.")

    @property
    def care(self) -> Architecture:
        """The shape of the CARE network.

        Raises
        ------
        InputError
            If the model is a foreign program.
        """
        if isinstance(self.architecture, Program):
            raise InputError(
                f"This model is a {self.architecture.kind} program of another tool: it can restore and be compared; it "
                "cannot be trained further, exported or run in 8 bits."
            )
        return self.architecture

    def to_json(self) -> str:
        """Return the card as JSON."""
        values = {
            "format": FORMAT,
            "structure": self.structure,
            "loss": self.loss,
            "loss_parameters": self.loss_parameters,
            "preset": self.preset,
            "architecture": self.architecture.to_dict(),
            "normalization": levels_to_dict(self.normalization),
            "training": self.training,
        }
        if self.statistics:
            values["statistics"] = self.statistics
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Return the card a JSON text describes.

        Raises
        ------
        ModelFileError
            If it is no card of this version or an earlier one.
        """
        try:
            values = read_json(text)
            if int(values["format"]) > FORMAT:
                raise ModelFileError(f"The model is of format {values['format']}; this version reads up to {FORMAT}.")
            return cls(
                structure=str(values["structure"]),
                loss=str(values["loss"]),
                loss_parameters=dict(values["loss_parameters"]),
                preset=str(values["preset"]),
                architecture=(Program if "kind" in values["architecture"] else Architecture).from_dict(
                    values["architecture"]
                ),
                normalization=levels_from_dict(values["normalization"]),
                training=dict(values["training"]),
                # files of earlier versions have none
                statistics=dict(values.get("statistics", {})),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"The model's card is damaged ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class Model:
    """A trained network and its card.

    Attributes
    ----------
    card : ModelCard
        What it is.
    weights : dict of str to Tensor
        The network's parameters by name, float32, and nothing else; of a foreign program its bytes.
    """

    card: ModelCard
    weights: dict[str, Tensor]

    def network(self) -> CareNetwork:
        """Return a new network with these weights, ready to restore.

        Raises
        ------
        InputError
            If the model is a foreign program.
        ModelFileError
            If the weights do not fit the architecture.
        """
        network = _empty_network(self.card.care)
        _check_shapes(network, {name: tuple(tensor.shape) for name, tensor in self.weights.items()})
        network.load_state_dict(self.weights, assign=True)
        return network.eval()

    def program(self) -> bytes:
        """Return the foreign program.

        Raises
        ------
        ModelFileError
            If it is not the one that the card names.
        """
        program, tensor = self.card.architecture, self.weights.get(TENSOR)
        data = b"" if tensor is None else tensor.numpy().tobytes()
        if not isinstance(program, Program) or hashlib.sha256(data).hexdigest() != program.sha256:
            raise ModelFileError("The program in the model is not the one that its card names.")
        return data

    def digest(self) -> str:
        """Return a short digest of card and weights: equal for equal models, whenever they were trained."""
        # Image statistics change nothing of what the model does, and may be added to one that a training started from.
        training = {name: value for name, value in self.card.training.items() if name not in CIRCUMSTANCES}
        digest = hashlib.sha256(replace(self.card, statistics={}, training=training).to_json().encode())
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: Path | str) -> None:
        """Write the model; an existing file is replaced once the new one is whole.

        Raises
        ------
        InputError
            If the folder does not exist.
        OutputError
            If the file cannot be written.
        """
        from safetensors.torch import save

        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        with replacing(Path(path)) as temporary:
            # Not `save_file`, which claims the whole length first: killed, it leaves a file that opens.
            temporary.write_bytes(save(weights, metadata={HEADER: self.card.to_json()}))


def load_model(path: Path | str) -> Model:
    """Read a model file.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, not one of ours, or holds a foreign program that may not be run here.
    """
    model = read_model(Path(path))
    program = model.card.architecture
    if isinstance(program, Program):
        from napari_care_losses.models.user_folder import is_agreed

        if not is_agreed(program.sha256):
            raise ModelFileError(
                f"{path} holds a {program.kind} program of another tool that nobody has agreed to run on this machine: "
                f"import the file first (napari-care-losses import {path} --name NAME)."
            )
    return model


def read_model(path: Path) -> Model:
    """Read a model file without asking whether its program may be run; raises like `load_model` otherwise."""
    import torch

    card = read_card(path)
    try:
        with open_tensors(path, "pt") as file:
            # before any of them is read: a file can claim what no memory holds
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            if isinstance(card.architecture, Architecture):
                _check_shapes(_empty_network(card.architecture), shapes)
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is damaged ({error}).") from error
    if isinstance(card.architecture, Program):
        model = Model(card, weights)
        if weights.keys() != {TENSOR} or weights[TENSOR].dtype != torch.uint8:
            raise ModelFileError(f"{path} is damaged: it does not hold the program that its card names.")
        model.program()
        return model
    if any(tensor.dtype != torch.float32 or not tensor.isfinite().all() for tensor in weights.values()):
        raise ModelFileError(f"{path} holds weights that are not finite float32 numbers.")
    return Model(card, weights)


def _empty_network(architecture: Architecture) -> CareNetwork:
    """Return a network without memory for its weights; a card may claim a far larger one than its file holds."""
    import torch

    from napari_care_losses.models.unet import CareNetwork

    with torch.device("meta"):
        return CareNetwork(architecture)


def _check_shapes(network: CareNetwork, found: dict[str, tuple[int, ...]]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    count = sum(map(math.prod, expected.values()))
    if count > LARGEST_NETWORK:
        raise ModelFileError(f"The model's card claims a network of {count:,} weights: none has so many.")
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ModelFileError(f"The weights do not fit the model's architecture (first: {wrong[0]!r}).")


def read_card(path: Path) -> ModelCard:
    """Read only the card of a model file, without torch.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no model file {path}.")
    try:
        with open_tensors(path, "numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path} is no model file ({error}).") from error
    if HEADER not in metadata:
        raise ModelFileError(f"{path} was not made by napari-care-losses: it has no card.")
    try:
        return ModelCard.from_json(metadata[HEADER])
    except InputError as error:
        raise ModelFileError(f"{path}: {error}") from error
