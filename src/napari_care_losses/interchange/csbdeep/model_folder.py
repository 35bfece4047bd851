"""Reading CSBDeep's model folders, ``config.json`` and weights in HDF5, without TensorFlow.

Network, padding and normalisation are the same here, so an imported model restores the same images.

References
----------
Weigert et al. 2018, doi:10.1038/s41592-018-0216-7; CSBDeep 0.8.2, ``csbdeep.models``.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import ModelFileError, ParameterError, printable
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.interchange.csbdeep.keras_weights import care_weights
from napari_care_losses.interchange.sandbox import Limits, read_confined
from napari_care_losses.io.untrusted_files import read_json
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.models.model import NOTE, Model, ModelCard

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from napari_care_losses.interchange.archives import Contents

CONFIG = "config.json"
WEIGHTS = ("weights_best.h5", "weights_last.h5", "weights_now.h5")
"""The files of weights that CSBDeep writes: of the best, the last and, while it trains, the newest epoch."""

READER = Path(__file__).with_name("read_hdf5.py")

_KNOWN = {
    "n_dim",
    "axes",
    "n_channel_in",
    "n_channel_out",
    "probabilistic",
    "unet_residual",
    "unet_n_depth",
    "unet_kern_size",
    "unet_n_first",
    "unet_last_activation",
    "unet_input_shape",
    "unet_dropout",
    "allow_new_parameters",
}
"""Settings that are understood or do not matter for restoring, beside those called ``train_...``."""

_PROVENANCE = ("train_epochs", "train_steps_per_epoch", "train_learning_rate", "train_batch_size")


def read_csbdeep(contents: Contents, *, limits: Limits | None = None) -> Generator[None, None, Model]:
    """Read a CARE model of CSBDeep, step by step.

    CSBDeep stores neither what the images show nor their percentiles: the model gets the structure "other" and
    CSBDeep's default percentiles, 2 and 99.8. The `limits` are those of reading the weights.

    Raises
    ------
    ModelFileError
        If it is not such a model, is damaged, or is of a kind that cannot be imported.
    """
    config = _config(contents)
    architecture = _architecture(config)
    name = _weights_file(contents.names)
    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as folder:
        copied = Path(folder) / name
        contents.copy(name, copied)
        # HDF5 never ends with some damaged files
        limits = limits or Limits(work=4.0 + copied.stat().st_size / 2e7)
        found = yield from read_confined(READER, copied, limits)
    weights = care_weights(found, architecture, swaps_axes=_axes(config) == "XY")
    card = ModelCard(
        structure="other",
        loss=_loss(config),
        preset=next((name for name, preset in PRESETS.items() if _is_preset(architecture, preset)), "custom"),
        architecture=architecture,
        normalization=PercentileNormalization(low=2.0, high=99.8),
        training={
            "imported_from": "CSBDeep",
            "keras_version": printable(found.notes.get("keras_version", "")),
            "weights": name,
            **({} if name == WEIGHTS[0] else {NOTE: f"The weights are those of {name}: there is no {WEIGHTS[0]}."}),
            **{
                key.removeprefix("train_"): config[key]
                for key in _PROVENANCE
                if isinstance(config.get(key), int | float)
            },
        },
    )
    model = Model(card, weights)
    if not model.is_finite:
        raise ModelFileError(f"The weights of {name} are not finite numbers.")
    model.network()
    return model


def _weights_file(names: Collection[str]) -> str:
    """Return the file of weights to take: one that CSBDeep writes, or the only other of such a name."""
    others = sorted(name for name in names if re.fullmatch(r"weights_\w{1,60}\.h5", name, re.ASCII))
    if name := next((name for name in WEIGHTS if name in names), ""):
        return name
    if len(others) > 1:
        raise ModelFileError(f"There are several files of weights and no {WEIGHTS[0]}: {', '.join(others)[:300]}.")
    if not others:
        raise ModelFileError(f"There is no {' and no '.join(WEIGHTS)} beside {CONFIG}.")
    return others[0]


def _is_preset(architecture: Architecture, preset: Architecture) -> bool:
    return preset.to_dict() | {"predicts_scale": architecture.predicts_scale} == architecture.to_dict()


def _config(contents: Contents) -> dict[str, Any]:
    try:
        config = read_json(contents.read(CONFIG))
    except ValueError as error:
        raise ModelFileError(f"{CONFIG} is damaged ({type(error).__name__}: {error}).") from error
    if not isinstance(config, dict) or "unet_n_depth" not in config:
        raise ModelFileError(f"{CONFIG} is not that of a CARE model of CSBDeep: it does not say unet_n_depth.")
    return config


def _architecture(config: dict[str, Any]) -> Architecture:
    """Return the architecture; settings that would change the network are refused by name."""
    if any(key.startswith("n2v_") for key in config):
        raise ModelFileError("This is a Noise2Void model, which normalises and pads otherwise: it cannot be imported.")
    unknown = sorted(key for key in config if key not in _KNOWN and not key.startswith("train_"))
    # a network without batch normalisation may say so
    unknown = [key for key in unknown if not (key in {"batch_norm", "unet_batch_norm"} and config[key] is False)]
    if unknown:
        raise ModelFileError(
            f"{CONFIG} has settings that CSBDeep's CARE does not have ({shortened(unknown)}): the network may differ."
        )
    if _axes(config) not in {"YX", "XY"}:
        raise ModelFileError(
            f"The network is for images with axes {shortened(config.get('axes'))}: only 2D ones can be imported."
        )
    for key, title in (("n_channel_in", "takes"), ("n_channel_out", "gives")):
        if config.get(key, 1) != 1:
            raise ModelFileError(
                f"The network {title} {shortened(config[key])} channels: only those of 1 can be imported."
            )
    last = config.get("unet_last_activation", "linear")
    if last != "linear":
        raise ModelFileError(f"The network ends in the activation {shortened(last)}: only 'linear' can be imported.")
    kernel = config.get("unet_kern_size", 5)
    try:
        return Architecture(
            depth=config["unet_n_depth"],
            # some versions store one number a dimension
            kernel_size=kernel[0] if isinstance(kernel, list) and len(set(map(str, kernel))) == 1 else kernel,
            filters=config.get("unet_n_first", 32),
            residual=config.get("unet_residual", True),
            predicts_scale=config.get("probabilistic", False),
        )
    except ParameterError as error:
        raise ModelFileError(f"The network of {CONFIG} cannot be imported: {error}") from error


def _axes(config: dict[str, Any]) -> str:
    return str(config.get("axes", "YX")).replace("C", "")


def _loss(config: dict[str, Any]) -> str:
    loss = config.get("train_loss")
    if isinstance(loss, str) and loss in {"laplace", "mae", "mse"}:
        return loss
    return "laplace" if config.get("probabilistic") else "mae"
