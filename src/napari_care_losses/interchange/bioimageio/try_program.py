"""A script: runs an external network on its package's test image and measures its receptive field, see `sandbox.py`.

Its argument is a folder with ``model.safetensors``, ``input.npy`` (Y, X) in grey levels and ``expected.npy`` (Y, X).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from napari_care_losses.errors import CareError, ComputeError
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.interchange.bioimageio.tensors import TOLERANCE
from napari_care_losses.models.model import read_model
from napari_care_losses.models.program import ONNX, Program
from napari_care_losses.restoration.engines.choose import open_engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.restoration.engines.base import Engine

SMALLEST_CHANGE = 1e-3
"""Smallest change of the result that counts, in its standard deviations."""

MOVED = 1e-2
"""Largest difference between the results of an image and the same image moved, in their standard deviations."""

LARGEST = 1024
"""Width of the images tried at most."""

BLOCKS = (1, 2, 4, 8, 16, 32, 64)
"""Blocks that a network with one size may have: those of networks that halve an image."""

_STRIP = 8


class UnusableNetwork(Exception):
    """A network that cannot be used, with the reason."""


def main(folder: str, target: str) -> int:
    """Try the network in `folder`, write block and margin to `target`, and return the exit status."""
    try:
        found = _tried(Path(folder))
    except ComputeError as error:
        print(f"it fails on the package's own test image ({_last_line(error)}).", file=sys.stderr)
        return 2
    except (UnusableNetwork, CareError) as refused:
        print(refused, file=sys.stderr)
        return 2
    save_file({}, target, metadata={name: str(value) for name, value in found.items()})
    return 0


def _last_line(error: ComputeError) -> str:
    """Return what failed; the lines before it are places in the library's sources."""
    lines = str(error.__cause__ or error).strip().splitlines() or [""]
    return lines[-1][-300:]


def _tried(folder: Path) -> dict[str, int]:
    model = read_model(folder / "model.safetensors")
    program = model.card.architecture
    assert isinstance(program, Program)
    if program.kind == ONNX:
        _check_graph(model.program())
    try:
        engine = open_engine("auto", model, "cpu")
    except ComputeError as error:
        raise UnusableNetwork(f"it is damaged, or not of this version of torch ({_last_line(error)}).") from error
    image, expected = (np.load(folder / f"{name}.npy") for name in ("input", "expected"))
    grey_range = frame_range(image, model.card.normalization)
    normalized = grey_range.apply(image)
    restored = engine.restore(normalized)[0]
    is_undone = (folder / "undone").exists()
    shown = grey_range.undo(restored) if is_undone else restored * np.float32(program.gain) + np.float32(program.offset)
    extent = float(np.ptp(expected))
    difference = float(np.abs(shown - expected).max()) / (extent if extent > 0 else 1.0)
    if not difference <= TOLERANCE:
        raise UnusableNetwork(
            f"its result for the test image is not that of the package: they differ by {difference:.2g} of the range, "
            f"expected at most {TOLERANCE:g}."
        )
    reach = max(program.margin, _reach(engine, program, normalized))
    for block in BLOCKS if program.size else (program.block,):
        margin = -(-reach // block) * block
        if program.size and 3 * margin > program.size:
            raise UnusableNetwork(
                f"it takes images of {program.size} px only and its receptive field reaches {margin} px: tiles of a "
                "larger image would not fit together."
            )
        moved = _difference_when_moved(engine, program, normalized, block, margin)
        if moved <= MOVED:
            return {"block": block, "margin": margin}
    raise UnusableNetwork(
        f"its result depends on the position in the image: moved by {block} px, it differs by {moved:.2g} standard "
        "deviations. Tiles would not fit together."
    )


def _check_graph(data: bytes) -> None:
    import openvino

    try:
        graph = openvino.Core().read_model(data)
    except RuntimeError as error:
        raise UnusableNetwork(f"it is no ONNX graph that OpenVINO reads: {str(error)[-300:]}") from error
    kinds = {operation.get_type_name() for operation in graph.get_ops()}
    if loops := kinds & {"Loop", "TensorIterator", "If"}:
        raise UnusableNetwork(
            f"the graph has loops or branches ({', '.join(sorted(loops))}): only plain graphs are run."
        )


def _reach(engine: Engine, program: Program, image: NDArray[np.float32]) -> int:
    """Return the distance in pixels from which a changed pixel changes the result."""
    width = program.valid(256)
    while True:
        base = _sample(image, width)
        reach = max(_reach_from_the_left(engine, base), _reach_from_the_left(engine, base, is_turned=True))
        if reach < width // 2:
            return reach
        if program.size or 2 * width > LARGEST:
            raise UnusableNetwork(
                f"every pixel of its result depends on pixels {reach} px away and farther (as with instance "
                "normalisation): tiles would not fit together."
            )
        width = program.valid(2 * width)


def _reach_from_the_left(engine: Engine, base: NDArray[np.float32], *, is_turned: bool = False) -> int:
    changed = base.copy()
    rng = np.random.default_rng(0)
    strip = changed[:_STRIP] if is_turned else changed[:, :_STRIP]
    strip[...] = rng.permutation(strip.ravel()).reshape(strip.shape) + rng.normal(0, 1, strip.shape) * base.std()
    before, after = (engine.restore(each)[0] for each in (base, changed))
    change = np.abs(after - before).max(axis=1 if is_turned else 0)
    changes = np.flatnonzero(change > SMALLEST_CHANGE * max(float(before.std()), 1e-12))
    return max(0, int(changes[-1]) - (_STRIP - 1)) if len(changes) else 0


def _difference_when_moved(
    engine: Engine, program: Program, image: NDArray[np.float32], block: int, margin: int
) -> float:
    """Return the change of the result, in standard deviations, when the image is moved by a block."""
    width = program.valid(2 * margin + 2 * block + 64)
    base = _sample(image, width + block)
    here, moved = (engine.restore(each)[0] for each in (base[:width, :width], base[block:, block:]))
    first, last = slice(margin + block, width - margin), slice(margin, width - margin - block)
    difference = np.abs(here[first, first] - moved[last, last])
    return float(difference.max(initial=0)) / max(float(here.std()), 1e-12)


def _sample(image: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return an image of this width, cropped from a larger one or made of a smaller one by reflection."""
    part = image[:width, :width]
    return np.pad(part, [(0, width - size) for size in part.shape], mode="symmetric")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
