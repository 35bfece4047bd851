"""A trained model: the network's weights and a card that describes them, in one ``.safetensors`` file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.evaluation.intervals import Intervals
from napari_care_losses.images.normalization import (
    Normalization,
    PercentileNormalization,
    normalization_from_dict,
    normalization_to_dict,
)
from napari_care_losses.io.untrusted_files import copied_arrays, open_tensors, read_json
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.program import TENSOR, Network, Program
from napari_care_losses.models.user_folder import is_agreed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_care_losses.models.unet import CareNetwork

SUFFIX = ".safetensors"
HEADER = "napari_care_losses"
FORMAT = 1
"""Version of the card's layout; files of a later one are refused."""

LARGEST_NETWORK = 1 << 26
"""Largest number of weights; CARE's network has a million."""

STRUCTURE_NAMES = ("actin", "mitochondria", "dendra", "other")
"""What the images that a model was trained on show."""

PROVENANCE = "provenance"
"""Entry of the provenance of a trained model: how it was made, as `napari_care_losses.provenance.Record.texts` gives
it, each text as its lines."""

CIRCUMSTANCES = ("seconds", "date", PROVENANCE)
"""Entries of a card's provenance that differ between two runs of one training."""

NOTE = "note"
"""Entry of the provenance of an imported model: a sentence that its user should read."""

LEARNED_CORRELATION = "noise_correlation"
"""Entry of a card's statistics: how strongly the noise of neighbouring pixels correlates in the training images."""

NEIGHBOUR_AXIS, NEIGHBOUR_SPACING = "neighbour_axis", "neighbour_spacing"
"""Entries of the provenance of models that read neighbouring frames: T or Z, and their distance in training, in seconds
or micrometres; None where it is not known."""

_WITHOUT_CLEAN = {
    "shot": "from second noisy shots of every field",
    "next": "from neighbouring frames of movies",
    "neighbours": "from noisy frames alone, each predicted from those around it",
    "self": "from the noisy images alone",
    "blind_spots": "from the noisy images alone, by blind spots",
}

# Their cards do not say that they learned from noise that is independent from pixel to pixel.
_BUNDLED = Path(__file__).resolve().parent / "bundled"
# words in file names that name a structure
_WORDS = {"actin": "actin", "mito": "mitochondria", "dendra": "dendra"}


def structure_named(text: str) -> str | None:
    """Return which of `STRUCTURE_NAMES` a text such as a file name mentions; None if none."""
    return next((structure for word, structure in _WORDS.items() if word in text.lower()), None)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The description of a model in its file.

    Examples
    --------
    >>> from napari_care_losses.models.architecture import Architecture
    >>> from napari_care_losses.models.model import ModelCard
    >>> card = ModelCard(structure="actin", loss="fft", architecture=Architecture(filters=16))
    >>> card.normalization.high  # percentile, CARE's default
    99.8
    >>> ModelCard.from_json(card.to_json()) == card
    True
    """

    structure: str
    """One of `STRUCTURE_NAMES`."""
    loss: str
    """Name of the training loss."""
    loss_parameters: dict[str, Any] = field(default_factory=dict)
    preset: str = "custom"
    """Name of the architecture's preset, or "custom"."""
    architecture: Network
    """Shape of the network, or the description of another tool's program."""
    normalization: Normalization = field(default_factory=PercentileNormalization)
    """Percentiles to use when restoring, or what another tool's network uses in their place."""
    training: dict[str, Any] = field(default_factory=dict)
    """Provenance as plain values: settings, pairs, steps, losses reached, versions, date."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """`LEARNED_CORRELATION` of the low-exposure training images; empty if unknown. Earlier versions stored more."""
    intervals: Intervals | None = None
    """How far true values may lie from restored ones; None where it is not known, and in earlier versions."""

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURE_NAMES:
            raise InputError(
                f"structure must be one of {', '.join(STRUCTURE_NAMES)}; found {shortened(self.structure)}."
            )

    @property
    def target(self) -> str:
        """What the network learnt from: "clean" images, as all without this entry did, or noisy ones."""
        return str(self.training.get("target", "clean"))

    @property
    def without_clean(self) -> str:
        """A sentence on what it learnt from in place of clean images; empty if it had those."""
        what = _WITHOUT_CLEAN.get(self.target)
        return f"It learnt without clean images, {what}." if what else ""

    @property
    def around(self) -> str:
        """A sentence on the neighbouring frames that it reads; empty if it reads none."""
        number = self.architecture.neighbours
        if not number:
            return ""
        axis, spacing = self.training.get(NEIGHBOUR_AXIS), self.training.get(NEIGHBOUR_SPACING)
        which, unit = ("planes", "um") if axis == "Z" else ("frames", "s")
        apart = f", {spacing:.3g} {unit} apart in training" if isinstance(spacing, int | float) else ""
        seen = ", and not the frame itself" if self.care.is_blind else ""
        return f"It reads {number} neighbouring {which}{apart}{seen}."

    @property
    def care(self) -> Architecture:
        """The shape of the CARE network; raises `InputError` for a program of another tool."""
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
            "normalization": normalization_to_dict(self.normalization),
            "training": self.training,
        }
        if self.statistics:
            values["statistics"] = self.statistics
        if self.intervals is not None:
            values["intervals"] = self.intervals.to_dict()
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Return the card that a JSON text describes; raise `ModelFileError` unless this version can read it."""
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
                normalization=normalization_from_dict(values["normalization"]),
                training=dict(values["training"]),
                # Files of earlier versions have neither.
                statistics=dict(values.get("statistics", {})),
                intervals=Intervals.from_dict(values["intervals"]) if "intervals" in values else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"The model's card is damaged ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class Model:
    """A trained network and its card.

    Examples
    --------
    >>> from napari_care_losses.models.architecture import Architecture
    >>> from napari_care_losses.models.model import Model, ModelCard
    >>> from napari_care_losses.models.unet import CareNetwork
    >>> architecture = Architecture(filters=4, depth=1)
    >>> card = ModelCard(structure="other", loss="fft", architecture=architecture)
    >>> model = Model(card, CareNetwork(architecture).state_dict())
    >>> model.network().training  # a new network, ready to restore
    False
    """

    card: ModelCard
    arrays: Mapping[str, NDArray[Any]]
    """The network's parameters by name, float32, and nothing else; of another tool's program its bytes.

    NumPy arrays, so that networks run without torch where OpenVINO does; tensors may be given too.
    """
    path: Path | None = field(default=None, compare=False)
    """The file it was read from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", {name: _as_array(values) for name, values in self.arrays.items()})

    @property
    def weights(self) -> dict[str, Tensor]:
        """The same as tensors of the same memory; loads torch."""
        import torch

        return {name: torch.from_numpy(values) for name, values in self.arrays.items()}

    def network(self) -> CareNetwork:
        """Return a new network with these weights, ready to restore.

        Raises `InputError` for a program of another tool, `ModelFileError` where the weights do not fit.
        """
        import torch

        from napari_care_losses.models.unet import CareNetwork

        _check_shapes(self.card.care, {name: values.shape for name, values in self.arrays.items()})
        # without memory for weights of its own
        with torch.device("meta"):
            network = CareNetwork(self.card.care)
        network.load_state_dict(self.weights, assign=True)
        return network.eval()

    @property
    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(np.isfinite(values).all()) for values in self.arrays.values())

    def program(self) -> bytes:
        """Return the bytes of another tool's program; raise `ModelFileError` if the card names another one."""
        program, array = self.card.architecture, self.arrays.get(TENSOR)
        data = b"" if array is None else array.tobytes()
        if not isinstance(program, Program) or hashlib.sha256(data).hexdigest() != program.sha256:
            raise ModelFileError("The program in the model is not the one that its card names.")
        return data

    def digest(self) -> str:
        """Return a short digest of card and weights: equal for equal models, whenever they were trained."""
        # Image statistics and intervals do not change what is restored, and may be added later.
        training = {name: value for name, value in self.card.training.items() if name not in CIRCUMSTANCES}
        card = replace(self.card, statistics={}, intervals=None, training=training)
        digest = hashlib.sha256(card.to_json().encode())
        for name in sorted(self.arrays):
            digest.update(name.encode() + self.arrays[name].tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: Path | str) -> None:
        """Write the model; an existing file is replaced once the new one is whole.

        Raises `InputError` if the folder does not exist, `OutputError` if the file cannot be written.
        """
        from safetensors.numpy import save

        with replacing(Path(path)) as temporary:
            # Not `save_file`, which sets the full length first: a killed one leaves a file that opens.
            temporary.write_bytes(save(dict(self.arrays), metadata={HEADER: self.card.to_json()}))


def load_model(path: Path | str) -> Model:
    """Read a model file.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, not one of ours, or holds a program of another tool that the user did not agree
        to run here.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> model = load_model(find_model("bandpass-care"))
    >>> model.card.loss, model.card.architecture.filters
    ('bandpass', 32)
    """
    model = read_model(Path(path))
    program = model.card.architecture
    if isinstance(program, Program) and not is_agreed(program.sha256):
        raise ModelFileError(
            f"{path} holds a {program.kind} program of another tool that nobody has agreed to run on this machine: "
            f"import the file first (napari-care-losses import {path} --name NAME)."
        )
    return model


def read_model(path: Path) -> Model:
    """Read a model file as `load_model` does, a program that may not be run too."""
    card = read_card(path)
    is_program = isinstance(card.architecture, Program)
    try:
        with open_tensors(path, "numpy") as file:
            # Checked before any is read: a file can claim more than the memory holds.
            parts = {name: file.get_slice(name) for name in file.keys()}
            if isinstance(card.architecture, Architecture):
                _check_shapes(card.architecture, {name: tuple(part.get_shape()) for name, part in parts.items()})
            has_the_type = all(part.get_dtype() == ("U8" if is_program else "F32") for part in parts.values())
            # NumPy has not all types that a file may hold
            arrays = copied_arrays(file) if has_the_type else {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is damaged ({error}).") from error
    model = Model(card, arrays, path)
    if is_program:
        if arrays.keys() != {TENSOR}:
            raise ModelFileError(f"{path} is damaged: it does not hold the program that its card names.")
        model.program()
    elif not has_the_type or not model.is_finite:
        raise ModelFileError(f"{path} holds weights that are not finite float32 numbers.")
    return model


def _as_array(values: Any) -> NDArray[Any]:
    """Return an array, or a tensor as one, contiguous and writable as torch wants it, of the same memory if it can."""
    if not isinstance(values, np.ndarray):
        values = values.detach().cpu().numpy()
    return np.require(values, requirements=("C", "W"))


def _check_shapes(architecture: Architecture, found: dict[str, tuple[int, ...]]) -> None:
    expected = architecture.weight_shapes()
    count = sum(map(math.prod, expected.values()))
    if count > LARGEST_NETWORK:
        raise ModelFileError(
            f"The model's card claims a network of {count:,} weights; at most {LARGEST_NETWORK:,} are allowed."
        )
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ModelFileError(f"The weights do not fit the model's architecture (first: {wrong[0]!r}).")


def read_card(path: Path) -> ModelCard:
    """Read only the card of a model file, without torch; raises `ModelFileError` as `load_model` does."""
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
        card = ModelCard.from_json(metadata[HEADER])
    except InputError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if path.resolve().parent != _BUNDLED or LEARNED_CORRELATION in card.statistics:
        return card
    return replace(card, statistics={**card.statistics, LEARNED_CORRELATION: 0.0})
