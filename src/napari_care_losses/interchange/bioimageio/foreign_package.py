"""Reading bioimage.io packages of others: CARE networks are recognised, other networks become external programs.

No code of a package is run before the user agreed. An ONNX graph is not code: it is parsed and tried in a process of
its own, and refused if it has loops or branches. The source code beside a state dict is never run.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import ForeignProgram, ModelFileError, ParameterError, UnagreedProgramError
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.interchange.bioimageio.care_by_shapes import care_candidates
from napari_care_losses.interchange.bioimageio.careamics_unet import care_weights, is_careamics_unet
from napari_care_losses.interchange.bioimageio.rdf import at, copy_checked
from napari_care_losses.interchange.bioimageio.tensors import TOLERANCE, read_interface
from napari_care_losses.interchange.csbdeep.keras_weights import convolutions, torch_kernel
from napari_care_losses.interchange.csbdeep.model_folder import READER as READ_HDF5
from napari_care_losses.interchange.sandbox import Limits, read_confined
from napari_care_losses.io.untrusted_files import read_json
from napari_care_losses.models.architecture import BILINEAR, NEAREST
from napari_care_losses.models.model import NOTE, Model, ModelCard
from napari_care_losses.models.program import ONNX, TENSOR, TORCHSCRIPT, Program
from napari_care_losses.models.user_folder import agree

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_care_losses.interchange.archives import Contents
    from napari_care_losses.interchange.bioimageio.tensors import Interface
    from napari_care_losses.models.architecture import Architecture

    Agrees = Callable[[ForeignProgram], bool]

READ_STATE_DICT, TRY_PROGRAM = (Path(__file__).with_name(name) for name in ("read_state_dict.py", "try_program.py"))

TRIAL = Limits(seconds=300.0)
"""Limits of trying a network."""

MAX_TEST = 256 << 20
"""Bytes of a test image at most."""

KERAS = "keras_hdf5"


class _WeightsFile(NamedTuple):
    """Weights without a program: what messages call them, the name of our copy and the script that reads it."""

    title: str
    name: str
    reader: Path


_WEIGHTS = {
    "pytorch_state_dict": _WeightsFile("PyTorch state dict", "weights.pt", READ_STATE_DICT),
    KERAS: _WeightsFile("Keras HDF5 file", "weights.h5", READ_HDF5),
}
_KEYS = {TORCHSCRIPT: ("torchscript", "pytorch_script"), ONNX: ("onnx",)}


class _Test(NamedTuple):
    """A package's test image in grey levels and the network's result for it, both (Y, X)."""

    image: NDArray[Any]
    expected: NDArray[np.float32]


def read_foreign_package(
    contents: Contents, described: dict[str, Any], *, agrees: Agrees | None = None, limits: Limits | None = None
) -> Generator[None, None, Model]:
    """Read a package of others with this description, see `read_bioimageio`.

    Takes the first of these that it holds: a state dict or a Keras file that is a CARE network, a TorchScript program
    if the user agrees to run it, an ONNX graph.
    """
    interface = read_interface(described)
    reasons = []
    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as made:
        folder = Path(made)
        test = _test(contents, interface, folder)
        for kind, weights_file in _WEIGHTS.items():
            if at(described, "weights", kind) is not None:
                try:
                    model = yield from _recognized(kind, contents, described, interface, test, folder, limits)
                except ModelFileError as error:
                    reasons.append(f"its {weights_file.title}: {str(error).removesuffix('.')}")
                else:
                    return model
        programs = {kind: entry for kind in _KEYS if (entry := _entry(described, kind)) is not None}
        asked: ForeignProgram | None = None
        if TORCHSCRIPT in programs:
            entry = programs[TORCHSCRIPT]
            path = copy_checked(contents, entry, folder / "program.pt", "TorchScript program")
            name, authors = _package_name(described), _authors(described)
            asked = ForeignProgram(name, authors, str(at(entry, "source"))[:200], _sha256(path.read_bytes()))
            if agrees is not None and agrees(asked):
                return (yield from _tried(TORCHSCRIPT, path, described, interface, test))
        if ONNX in programs:
            if find_spec("openvino") is not None:
                path = copy_checked(contents, programs[ONNX], folder / "graph.onnx", "ONNX graph")
                return (yield from _tried(ONNX, path, described, interface, test))
            reasons.append("ONNX graphs need OpenVINO, which is not installed (pip install openvino)")
    if asked is not None:
        raise UnagreedProgramError(asked)
    kinds = at(described, "weights")
    found = ", ".join(str(kind)[:40] for kind in kinds)[:200] if isinstance(kinds, dict) and kinds else "no weights"
    raise ModelFileError(
        f"This package has {found}; supported are a CARE network as a PyTorch state dict or Keras HDF5, or "
        f"any 2D network as TorchScript or ONNX{': ' if reasons else ''}{'; '.join(reasons)}."
    )


def read_program_model(model: Model, *, agrees: Agrees | None = None) -> Model:
    """Return the model of a file that holds an external program, if the user agrees; else `UnagreedProgramError`."""
    program = model.card.architecture
    assert isinstance(program, Program)
    training = model.card.training
    authors = training.get("authors")
    asked = ForeignProgram(
        str(training.get("package", "")),
        tuple(map(str, authors)) if isinstance(authors, list) else (),
        f"in the model file, {program.kind}",
        program.sha256,
    )
    if agrees is None or not agrees(asked):
        raise UnagreedProgramError(asked)
    agree(program.sha256)
    return model


def _entry(described: dict[str, Any], kind: str) -> Any:
    return next((entry for key in _KEYS[kind] if (entry := at(described, "weights", key)) is not None), None)


def _package_name(described: dict[str, Any]) -> str:
    return " ".join(str(described.get("name", "")).split())[:128]


def _authors(described: dict[str, Any]) -> tuple[str, ...]:
    authors = described.get("authors")
    # before description 0.3.2 authors were names
    names = [a if isinstance(a, str) else at(a, "name") for a in authors] if isinstance(authors, list) else []
    return tuple(" ".join(str(name).split())[:80] for name in names if name)[:20]


def _test(contents: Contents, interface: Interface, folder: Path) -> _Test:
    """Return the package's test image and result."""
    found: list[NDArray[Any]] = []
    for axes, where in ((interface.axes_in, interface.test_input), (interface.axes_out, interface.test_output)):
        entry = where if isinstance(where, dict) else {"source": where}
        path = copy_checked(contents, entry, folder / f"test-{len(found)}.npy", "test image", limit=MAX_TEST)
        try:
            # mapped: a header may claim more than the file holds; copied: a mapped file cannot be deleted on Windows
            array = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
        except (ValueError, OSError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
            raise ModelFileError(f"The package's test image is damaged ({str(error)[:200]}).") from error
        if "b" in axes and array.ndim == len(axes):
            # the first of several
            array = array.take([0], axis=axes.index("b")) if array.shape[axes.index("b")] > 1 else array
        is_image = array.ndim == len(axes) and all(
            size == 1 for axis, size in zip(axes, array.shape, strict=False) if axis not in "yx"
        )
        if not is_image or array.dtype.kind not in "fui" or array.size == 0:
            raise ModelFileError(
                f"The package's test image has shape {array.shape} and type {array.dtype}: expected one image with "
                f"axes {axes}."
            )
        image = np.array(array).reshape([size for axis, size in zip(axes, array.shape, strict=True) if axis in "yx"])
        found.append(image.T if axes.index("x") < axes.index("y") else image)
    image, expected = found
    if image.shape != expected.shape or not (np.isfinite(image).all() and np.isfinite(expected).all()):
        raise ModelFileError(
            f"The package's test image has {image.shape} px and its result {expected.shape}: expected finite pixels, "
            "and as many."
        )
    return _Test(image, expected.astype(np.float32))


def _recognized(
    kind: str,
    contents: Contents,
    described: dict[str, Any],
    interface: Interface,
    test: _Test,
    folder: Path,
    limits: Limits | None,
) -> Generator[None, None, Model]:
    """Return the CARE network that gives the package's test result; raise `ModelFileError` if there is none."""
    file = _WEIGHTS[kind]
    path = copy_checked(contents, at(described, "weights", kind), folder / file.name, file.title)
    found = yield from read_confined(file.reader, path, limits)
    if kind == KERAS:
        turned = interface.axes_in.index("x") < interface.axes_in.index("y")
        pairs = [(torch_kernel(kernel, swaps_axes=turned), bias) for kernel, bias in convolutions(found).values()]
        tensors = {str(number): tensor for number, tensor in enumerate(tensor for pair in pairs for tensor in pair)}
        order = list(tensors)
    else:
        tensors = dict(found.tensors)
        try:
            order = read_json(found.notes["order"])
        except (KeyError, ValueError) as error:
            raise ModelFileError(f"its list of tensors is damaged ({error})") from error
    upsampling = NEAREST
    if is_careamics_unet(tensors):
        tensors, upsampling = care_weights(tensors, contents, described, interface.normalization), BILINEAR
        order = list(tensors)
    if not interface.preprocessing.is_plain:
        raise ModelFileError("its input is scaled or clipped after it is normalised, which CARE networks are not here")
    import torch

    grey_range = frame_range(test.image, interface.normalization)
    given = torch.from_numpy(grey_range.apply(test.image))[None, None]
    extent = float(np.ptp(test.expected))
    difference = math.inf
    for architecture, weights in care_candidates(tensors, order, upsampling):
        if any(size % architecture.block for size in test.image.shape):
            raise ModelFileError(
                f"the test image has {test.image.shape} px, no multiples of the {architecture.block} px of the network"
            )
        card = _card(described, interface, kind, architecture)
        model = Model(card, weights)
        with torch.inference_mode():
            made = model.network()(given).mean[0, 0].numpy()
        shown = grey_range.undo(made) if interface.is_undone else made
        difference = min(difference, float(np.abs(shown - test.expected).max()) / (extent or 1.0))
        if difference <= TOLERANCE:
            return model
        yield
    closest = f" (its layers are those of one, but its test result differs by {difference:.2g} of the range)"
    raise ModelFileError(
        "it is not a CARE network, and the source code of another one is not run"
        f"{closest if difference < math.inf else ''}"
    )


OF_DATASET = (
    "Its package normalises by the statistics of a whole dataset: the frames of a stack share one range, unless you "
    "choose another."
)

UNKNOWN = "unknown"
"""The loss of a model whose package does not name it."""


def _tried(
    kind: str, path: Path, described: dict[str, Any], interface: Interface, test: _Test
) -> Generator[None, None, Model]:
    """Return the model of a program after a successful trial, and remember that it may be run."""
    data = path.read_bytes()
    block, smallest, size = interface.square_sizes()
    try:
        program = Program(
            kind=kind,
            sha256=_sha256(data),
            axes_in=interface.axes_in,
            axes_out=interface.axes_out,
            block=block,
            smallest=smallest,
            size=size,
            margin=interface.halo,
            gain=interface.preprocessing.gain,
            offset=interface.preprocessing.offset,
            lowest=interface.preprocessing.lowest,
            highest=interface.preprocessing.highest,
        )
    except ParameterError as error:
        raise ModelFileError(f"The network cannot be imported: {error}") from error
    card = replace(_card(described, interface, kind, program), preset=kind)
    model = Model(card, {TENSOR: np.frombuffer(data, np.uint8)})
    # messages name this folder
    folder = path.with_name("trial") / f"The {'TorchScript program' if kind == TORCHSCRIPT else 'ONNX graph'}"
    folder.mkdir(parents=True)
    model.save(folder / "model.safetensors")
    np.save(folder / "input.npy", test.image)
    np.save(folder / "expected.npy", test.expected)
    if interface.is_undone:
        (folder / "undone").touch()
    found = yield from read_confined(TRY_PROGRAM, folder, TRIAL, use="used")
    agree(program.sha256)
    block, margin = int(found.notes["block"]), int(found.notes["margin"])
    return replace(model, card=replace(card, architecture=replace(program, block=block, margin=margin)))


def _card(
    described: dict[str, Any], interface: Interface, kind: str, architecture: Architecture | Program
) -> ModelCard:
    return ModelCard(
        structure="other",
        loss=UNKNOWN,
        architecture=architecture,
        normalization=interface.normalization,
        training={
            "imported_from": f"the bioimage.io package {_package_name(described)!r} ({kind})",
            "package": _package_name(described),
            "authors": list(_authors(described)),
            "imported": datetime.now(UTC).date().isoformat(),
            **({NOTE: OF_DATASET} if interface.normalization.of_dataset else {}),
        },
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
