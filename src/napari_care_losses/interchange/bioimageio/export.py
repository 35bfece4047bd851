"""A model as a bioimage.io package (model description 0.5), for DeepImageJ, ilastik, bioimageio.core and others.

References
----------
Ouyang et al. 2022, BioImage Model Zoo, doi:10.1101/2022.06.07.495102.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError, MissingLibraryError
from napari_care_losses.images.normalization import FixedLevels, PercentileNormalization, Standardization, frame_range
from napari_care_losses.interchange.bioimageio import network_source
from napari_care_losses.interchange.bioimageio.onnx_graph import OPSET, onnx_model
from napari_care_losses.interchange.bioimageio.own_package import CONFIG_KEY
from napari_care_losses.interchange.bioimageio.readme import (
    CARE_DOI,
    CARE_TEXT,
    INTENSITY,
    describe_package,
    neighbour_channels,
)
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.models.library import AUTHOR, LICENSE
from napari_care_losses.models.model import PROVENANCE
from napari_care_losses.simulation.pairs_and_movies import simulate_movie, simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Architecture
    from napari_care_losses.models.model import Model, ModelCard

DESCRIPTION = "rdf.yaml"
"""Name of the package's description, which older programs know too."""

INPUT, OUTPUT, SCALE = "raw", "restored", "scale"
"""Names of the tensors."""

EPS = 1e-6
"""Added to the width of the range by ``scale_range``, in grey levels, so that a constant image can be divided."""

TEST_SIZE = 256
"""Width of the test image in pixels, unless the network's margin needs a larger one."""


def export_bioimageio(
    model: Model, path: Path, *, name: str, authors: Sequence[str] = (AUTHOR,), license: str = LICENSE
) -> None:
    """Write a model as a package for bioimage.io; an existing file is replaced once the new one is whole.

    Parameters
    ----------
    path : Path
        The ``.zip`` file to make.
    license : str
        SPDX identifier of the weights' licence.

    Raises
    ------
    MissingLibraryError
        If bioimageio.spec or onnx is not installed.
    InputError
        If the model is an external network, the format does not allow the name, authors or licence, or the folder does
        not exist.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> from pathlib import Path
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     package = Path(folder) / "package.zip"
    ...     export_bioimageio(load_model(find_model("fft-lite")), package, name="actin", authors=["A. Author"])
    ...     for name in zipfile.ZipFile(package).namelist():
    ...         print(name)
    README.md
    care_network.py
    cover.png
    model.onnx
    raw.npy
    rdf.yaml
    restored.npy
    torchscript.pt
    weights.pt
    """
    finish(exporting(model, path, name=name, authors=authors, license=license))


def exporting(
    model: Model, path: Path, *, name: str, authors: Sequence[str] = (AUTHOR,), license: str = LICENSE
) -> Generator[str, None, None]:
    """Run `export_bioimageio` step by step; yields what each step does before it starts, and can be closed at any."""
    yield "looking for the libraries"
    # refuses external networks, which have no weights to pack
    model.card.care  # noqa: B018
    spec, v0_5 = _libraries()
    from pydantic import ValidationError

    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as made:
        folder = Path(made)
        yield "restoring a test image"
        _write_tensors(model, folder)
        yield "writing the weights"
        _write_weights(model, folder)
        yield "describing the model"
        count = sum(values.size for values in model.arrays.values())
        (folder / "README.md").write_text(describe_package(name, model.card, parameter_count=count), encoding="utf-8")
        with spec.ValidationContext(perform_io_checks=False, root=folder):
            try:
                described = _description(v0_5, model, folder, name=name, authors=authors, license=license, count=count)
            except ValidationError as error:
                first = error.errors()[0]
                where = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
                raise InputError(f"The format does not allow this description of the model: {where}.") from error
            # Packed here: the library's own packaging leaves files open.
            spec.save_bioimageio_yaml_only(described, folder / DESCRIPTION)
        yield "packing"
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)


def _libraries() -> tuple[Any, Any]:
    try:
        import bioimageio.spec
        import onnx  # noqa: F401
        from bioimageio.spec.model import v0_5
        from loguru import logger
    except ImportError as error:
        raise MissingLibraryError(
            f"Packages for bioimage.io need {error.name}, which is not installed: "
            'pip install "napari-care-losses[bioimageio]".'
        ) from error
    # its log messages about correct packages do not help the user
    logger.disable("bioimageio")
    return bioimageio.spec, v0_5


def _write_weights(model: Model, folder: Path) -> None:
    import torch

    weights = model.weights
    torch.save(weights, folder / "weights.pt")
    shutil.copyfile(network_source.__file__, folder / "care_network.py")
    network = network_source.CareUNet(**model.card.care.to_dict()).eval()
    network.load_state_dict(weights)
    example = torch.zeros(1, model.card.care.channels_in, *[smallest_input(model.card.care)] * 2)
    with warnings.catch_warnings():
        # deprecated, but the files of its successor can be read by torch only
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.trace(network, example).save(folder / "torchscript.pt")  # type: ignore[no-untyped-call]
    (folder / "model.onnx").write_bytes(onnx_model(model, INPUT, _outputs(model.card)))


def _write_tensors(model: Model, folder: Path) -> None:
    """Write a test image, the network's result for it, and a picture of both."""
    import torch

    images = _test_images(model.card)
    grey_levels = frame_range(images.reshape(-1, images.shape[-1]), model.card.normalization)
    normalized = (images - np.float32(grey_levels.low)) / np.float32(grey_levels.high - grey_levels.low + EPS)
    with torch.inference_mode():
        prediction = model.network()(torch.from_numpy(normalized)[None])
    np.save(folder / f"{INPUT}.npy", images[None])
    for name, tensor in zip((OUTPUT, SCALE), prediction, strict=True):
        if tensor is not None:
            np.save(folder / f"{name}.npy", tensor.numpy())
    panels = np.hstack([normalized[model.card.care.own_channel], prediction.mean[0, 0].numpy()])
    Image.fromarray((panels.clip(0, 1) * 255).round().astype(np.uint8)).save(folder / "cover.png", optimize=True)


def _shared(card: ModelCard) -> ModelCard:
    """Return the card without what names files on the disk of its maker."""
    return replace(card, training={name: value for name, value in card.training.items() if name != PROVENANCE})


def _test_images(card: ModelCard) -> NDArray[np.float32]:
    """Return a simulated image in the middle of its neighbours, if the network reads those: (1 + neighbours, Y, X)."""
    block, count = card.care.block, card.care.channels_in
    size = -(-max(TEST_SIZE, smallest_input(card.care)) // block) * block
    structure = "actin" if card.structure == "other" else card.structure
    simulate = simulate_movie if structure == "dendra" or count > 1 else simulate_pairs
    stack, _ = simulate(structure, count, (size, size), seed=0)
    return np.asarray(stack, np.float32)


def smallest_input(architecture: Architecture) -> int:
    """Return the smallest width of an input: one block and the halo on both sides."""
    return 2 * architecture.margin + architecture.block


def _preprocessing(v0_5: Any, card: ModelCard) -> Any:
    normalization = card.normalization
    # with the batch among the axes, the statistics are those of a whole dataset; neighbours are brought to one range
    names = ["batch"] * normalization.of_dataset + ["channel"] * (card.care.neighbours > 0) + ["y", "x"]
    axes = [v0_5.AxisId(axis) for axis in names]
    if isinstance(normalization, FixedLevels):
        fixed = v0_5.FixedZeroMeanUnitVarianceKwargs(mean=normalization.low, std=normalization.high - normalization.low)
        return v0_5.FixedZeroMeanUnitVarianceDescr(kwargs=fixed)
    if isinstance(normalization, Standardization):
        return v0_5.ZeroMeanUnitVarianceDescr(kwargs=v0_5.ZeroMeanUnitVarianceKwargs(axes=axes, eps=EPS))
    assert isinstance(normalization, PercentileNormalization)
    low, high = normalization.low, normalization.high
    return v0_5.ScaleRangeDescr(
        kwargs=v0_5.ScaleRangeKwargs(axes=axes, min_percentile=low, max_percentile=high, eps=EPS)
    )


def _outputs(card: ModelCard) -> list[str]:
    return [OUTPUT, SCALE] if card.architecture.predicts_scale else [OUTPUT]


def _tolerance(v0_5: Any, folder: Path, output: str) -> Any:
    """Return how closely other programs must reproduce a test output: 0.001, or less where the format demands it."""
    closest = min(1e-3, 0.005 * float(np.abs(np.load(folder / f"{output}.npy")).max()))
    return v0_5.ReproducibilityTolerance(output_ids=[v0_5.TensorId(output)], absolute_tolerance=closest)


def _hashed(v0_5: Any, folder: Path, name: str) -> dict[str, Any]:
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return {"source": v0_5.RelativeFilePath(PurePosixPath(name)), "sha256": v0_5.Sha256(digest)}


def _tensors(v0_5: Any, card: ModelCard, folder: Path) -> dict[str, list[Any]]:
    """Return the descriptions of inputs and outputs."""
    architecture = card.care

    def described(kind: Any, name: str, text: str, space: list[Any], channels: Sequence[str], **more: Any) -> Any:
        return kind(
            id=v0_5.TensorId(name),
            description=text,
            axes=[v0_5.BatchAxis(), v0_5.ChannelAxis(channel_names=[*channels]), *space],
            test_tensor=v0_5.FileDescr(**_hashed(v0_5, folder, f"{name}.npy")),
            data=v0_5.IntervalOrRatioDataDescr(type="float32"),
            **more,
        )

    axes = [v0_5.AxisId(axis) for axis in "yx"]
    size = v0_5.ParameterizedSize(min=smallest_input(architecture), step=architecture.block)
    space_in = [v0_5.SpaceInputAxis(id=axis, size=size) for axis in axes]
    space_out = [
        v0_5.SpaceOutputAxisWithHalo(
            id=axis, halo=architecture.margin, size=v0_5.SizeReference(tensor_id=v0_5.TensorId(INPUT), axis_id=axis)
        )
        for axis in axes
    ]
    steps = [_preprocessing(v0_5, card)]
    given, channels = "Low-exposure image in grey levels", [INTENSITY]
    if architecture.neighbours:
        given = "Low-exposure frame in grey levels among its neighbours, the first before the last"
        channels = neighbour_channels(architecture)
    texts = {
        OUTPUT: "Restored image in normalised units: see the documentation for grey levels",
        SCALE: "Laplace scale of every pixel in normalised units",
    }
    return {
        "inputs": [described(v0_5.InputTensorDescr, INPUT, given, space_in, channels, preprocessing=steps)],
        "outputs": [
            described(v0_5.OutputTensorDescr, name, texts[name], space_out, [INTENSITY]) for name in _outputs(card)
        ],
    }


def _description(
    v0_5: Any, model: Model, folder: Path, *, name: str, authors: Sequence[str], license: str, count: int
) -> Any:
    import torch

    card = model.card
    hashed = partial(_hashed, v0_5, folder)
    version = v0_5.Version(torch.__version__.partition("+")[0])
    if not all(author.strip() for author in authors):
        raise InputError("The name of an author is empty.")
    # characters and length that the format allows
    title = re.sub(r"[^\w ()+.-]", "-", f"{name} (CARE with {card.loss} loss)", flags=re.ASCII)[:128]
    return v0_5.ModelDescr(
        name=title,
        description=f"Restores low-exposure fluorescence images: a CARE U-Net trained with the {card.loss} loss",
        authors=[v0_5.Author(name=author) for author in authors],
        cite=[v0_5.CiteEntry(text=CARE_TEXT, doi=v0_5.Doi(CARE_DOI))],
        license=license,
        documentation=v0_5.FileDescr(**hashed("README.md")),
        covers=[v0_5.FileDescr(**hashed("cover.png"))],
        tags=["2d", "denoising", "restoration", "fluorescence-light-microscopy", "care", "unet", "pytorch", "napari"],
        **_tensors(v0_5, card, folder),
        weights=v0_5.WeightsDescr(
            pytorch_state_dict=v0_5.PytorchStateDictWeightsDescr(
                **hashed("weights.pt"),
                architecture=v0_5.ArchitectureFromFileDescr(
                    **hashed("care_network.py"), callable="CareUNet", kwargs=card.care.to_dict()
                ),
                pytorch_version=version,
            ),
            torchscript=v0_5.TorchscriptWeightsDescr(
                **hashed("torchscript.pt"), pytorch_version=version, parent="pytorch_state_dict"
            ),
            onnx=v0_5.OnnxWeightsDescr(**hashed("model.onnx"), opset_version=OPSET, parent="pytorch_state_dict"),
        ),
        config=v0_5.Config(
            bioimageio=v0_5.BioimageioConfig(
                model_parameter_count=count,
                reproducibility_tolerance=[_tolerance(v0_5, folder, output) for output in _outputs(card)],
            ),
            **{CONFIG_KEY: {"card": _shared(card).to_json()}},
        ),
    )
