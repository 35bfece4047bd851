"""Count false alarms and misses of the warning that a model does not match the images it is given.

    python benchmarks/mismatch.py [FOLDER]

Every frame is checked by itself, as the slider shows it. The bundled models are given fields simulated from seeds that
neither their training nor the choice of the rule has seen, and the sample images. FOLDER holds the W2S stacks
(actin_low.tif, actin_high.tif, mitochondria_low.tif, mitochondria_high.tif): frames 0-59 stand for what a model was
trained on, frames 60-68 are checked. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.match import reasons, summarize_images
from napari_care_losses.models.model import SUFFIX, read_card
from napari_care_losses.plugin.sample_data import actin_sample, dendra_sample, mitochondria_sample
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.models.image_statistics import ImageStatistics

    Stack = Iterable[NDArray[Any]]

SEED = 900
FIELDS = 30
VARIED = ImagingConditions(brightness=(0.5, 2.0), zoom=(0.6, 1.2))
"""What the bundled models were trained over."""

SAMPLES = {"actin": actin_sample, "mitochondria": mitochondria_sample, "dendra": dendra_sample}
TRAINED_ON = tuple(SAMPLES)
TRAINED, TESTED = slice(0, 60), slice(60, 69)
EXPECTED = {
    "matched": False,
    "structure": True,
    "exposure": True,
    "half way": None,
    "quarter, matched": False,
    "quarter, structure": True,
}
"""Whether a warning is right; at an exposure half way between short and long (in the logarithm), either is."""


class Row(NamedTuple):
    """Frames of one kind given to one model."""

    images: str
    model: str
    frames: str
    kind: str
    warned: int
    count: int


def main(folder: Path | None) -> None:
    """Print the table and the counts."""
    rows = list(simulated_rows())
    if folder is not None:
        rows += w2s_rows(folder)
    print("| images | model of | frames | expected | warned |")
    print("|---|---|---|---|---|")
    for row in rows:
        expected = {True: "warning", False: "none", None: "either"}[EXPECTED[row.kind]]
        print(f"| {row.images} | {row.model} | {row.frames} | {expected} | {row.warned} of {row.count} |")
    print(
        json.dumps({images: counts([row for row in rows if row.images == images]) for images in ("simulated", "W2S")})
    )


def simulated_rows() -> Iterator[Row]:
    """Yield what the bundled models say of simulated frames."""
    measured = {name: simulated(name, index) for index, name in enumerate(TRAINED_ON)}
    for name in TRAINED_ON:
        stored = bundled_statistics()

        def row(frames: str, kind: str, checked: list[ImageStatistics], stored: Any = stored, name: str = name) -> Row:
            return Row("simulated", name, frames, kind, warned(stored, checked), len(checked))

        yield row("own, varied", "matched", measured[name]["low"])
        yield row("own, 512 px", "matched", measured[name]["large"])
        yield row("own, sample", "matched", measured_frames(SAMPLES[name]()[1][0]))
        for other in TRAINED_ON:
            if other != name:
                yield row(f"{other}, varied", "structure", measured[other]["low"])
                yield row(f"{other}, 512 px", "structure", measured[other]["large"])
        yield row(f"own at {STRUCTURES[name].high_ms:g} ms", "exposure", measured[name]["high"])
        yield row(f"own at {half_way(name):.0f} ms", "half way", measured[name]["half way"])


def simulated(name: str, index: int) -> dict[str, list[ImageStatistics]]:
    """Return the figures of simulated fields of a structure."""
    low, high = simulate_pairs(name, FIELDS, (256, 256), VARIED, seed=SEED + index)
    dimmer = replace(VARIED, low_ms=half_way(name))
    between, _ = simulate_pairs(name, FIELDS, (256, 256), dimmer, seed=SEED + 10 + index)
    large, _ = simulate_pairs(name, FIELDS // 3, seed=SEED + 20 + index)
    stacks = {"low": low, "high": high, "half way": between, "large": large}
    return {kind: measured_frames(stack) for kind, stack in stacks.items()}


def half_way(name: str) -> float:
    """Return the exposure between a structure's short and long one, in ms."""
    return float(np.sqrt(STRUCTURES[name].low_ms * STRUCTURES[name].high_ms))


def bundled_statistics() -> dict[str, Any]:
    """Return what the bundled models, all trained on the same images, store of them."""
    stored = [read_card(path).statistics for path in bundled_folder().glob(f"*{SUFFIX}")]
    if not stored or any(other != stored[0] for other in stored):
        raise SystemExit("The figures of the bundled models differ: run tools/train_bundled.py --cards.")
    return stored[0]


def w2s_rows(folder: Path) -> Iterator[Row]:
    """Yield what models of the W2S training frames would say of the test frames."""
    names = ("actin", "mitochondria")
    stacks = {
        (name, exposure): list(read_tiff(folder / f"{name}_{exposure}.tif"))
        for name in names
        for exposure in ("low", "high")
    }
    for name, other in (names, names[::-1]):
        stored = summarize_images(stacks[name, "low"][TRAINED])
        for frames, kind, stack in (
            ("own", "matched", stacks[name, "low"]),
            (other, "structure", stacks[other, "low"]),
            ("own, 400 shots averaged", "exposure", stacks[name, "high"]),
        ):
            checked = measured_frames(stack[TESTED])
            yield Row("W2S", name, frames, kind, warned(stored, checked), len(checked))
            if kind != "exposure":
                quarters = [quarter for frame in stack[TESTED] for quarter in quartered(frame)]
                checked = measured_frames(quarters)
                yield Row("W2S", name, f"{frames}, quarters", f"quarter, {kind}", warned(stored, checked), len(checked))


def quartered(frame: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the four quarters of a frame."""
    height, width = (size // 2 for size in frame.shape)
    return [frame[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]


def measured_frames(stack: Stack) -> list[ImageStatistics]:
    """Return the figures of every frame."""
    return [measure(frame) for frame in stack]


def warned(stored: dict[str, Any], measured: list[ImageStatistics]) -> int:
    """Return for how many frames, each by itself, there is a warning."""
    return sum(bool(reasons(stored, [frame])) for frame in measured)


def counts(rows: list[Row]) -> dict[str, Any]:
    """Return false alarms, and misses of each kind, as [how many, of how many frames]."""

    def total(kind: str, wrong: bool) -> list[int]:
        chosen = [row for row in rows if row.kind == kind]
        frames, warnings = (sum(values) for values in ((row.count for row in chosen), (row.warned for row in chosen)))
        return [warnings if wrong else frames - warnings, frames]

    return {
        "false_alarms": total("matched", True),
        "missed_structures": total("structure", False),
        "missed_exposures": total("exposure", False),
        "false_alarms_on_quarters": total("quarter, matched", True),
        "missed_structures_on_quarters": total("quarter, structure", False),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
