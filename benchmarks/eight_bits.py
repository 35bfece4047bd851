"""What 8 bits cost every bundled model in quality, against float32, on simulated images and real ones.

    python benchmarks/eight_bits.py                                    # simulated
    python benchmarks/eight_bits.py --data ../shared/data              # real ones too
    python benchmarks/eight_bits.py --models fft-lite --width 256 --threads 1

Every image is restored alone, and calibrated on itself, as by a user; models of movies restore the middle of a
simulated movie. Prints for every model and image what 8 bits lose of PSNR and SSIM against the ground truth, both
against one another, and the speed that the engine notes; then mean and worst of every model, and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile
import torch

from napari_care_losses.evaluation.metrics import psnr, scale_truth
from napari_care_losses.evaluation.structural_similarity import ssim
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.simulation.pairs_and_movies import simulate_movie, simulate_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

STRUCTURES = ("actin", "mitochondria", "nuclei", "vesicles")
W2S_FIELDS = (61, 64, 67)
MOVIE_FRAMES = 7


class Example(NamedTuple):
    """A stack (T, Y, X) of which the middle frame is scored, and its ground truth (Y, X)."""

    name: str
    low: NDArray[Any]
    high: NDArray[Any]


def stills(width: int, data: Path | None) -> Iterator[Example]:
    """Yield single images, cropped to `width` around their middle."""

    def example(name: str, low: NDArray[Any], high: NDArray[Any]) -> Example:
        rows, columns = (slice((size - min(size, width)) // 2, (size + min(size, width)) // 2) for size in low.shape)
        return Example(name, low[None, rows, columns], high[rows, columns])

    for structure in STRUCTURES:
        yield example(f"simulated {structure}", *simulate_pair(structure, (width, width), seed=11))
    if data is None:
        return
    for structure in ("mitochondria", "actin"):
        low, high = (tifffile.imread(data / "w2s" / f"{structure}_{kind}.tif") for kind in ("low", "high"))
        for field in W2S_FIELDS:
            yield example(f"W2S {structure} {field}", low[field], high[field])
    for folder in ("other_microscopes", "high_low"):
        for path in sorted((data / folder).glob("*_low.tif")):
            high_path = path.with_name(path.name.replace("_low", "_high"))
            yield example(path.stem.removesuffix("_low"), tifffile.imread(path), tifffile.imread(high_path))


def movies(width: int) -> Iterator[Example]:
    """Yield simulated movies."""
    for structure in STRUCTURES:
        low, high = simulate_movie(structure, MOVIE_FRAMES, (width, width), seed=11)
        yield Example(f"movie of {structure}", low, high[MOVIE_FRAMES // 2])


def restored(model: Model, example: Example, engine: str) -> tuple[NDArray[np.float32], str]:
    """Return the restored middle frame, and the note."""
    frames = Frames(example.low, "TYX")
    parameters = RestorationParameters(engine=engine)
    *_, last = restore_frames(frames, model, parameters, indices=[len(frames) // 2], device="cpu")
    assert last.frame is not None
    return last.frame.image, last.note


def compared(model: Model, example: Example) -> dict[str, Any]:
    """Return what 8 bits lose on an image."""
    (exact, _), (coarse, note) = (restored(model, example, engine) for engine in ("openvino", "openvino-int8"))
    truth, against = scale_truth(example.high), scale_truth(exact)
    aligned = [truth.match(image, aligned=True) for image in (exact, coarse)]
    own = against.match(coarse, aligned=False)
    speed = re.search(r"engine: (\S+)x", note)
    return {
        "psnr": psnr(aligned[0], truth.image),
        "ssim": ssim(aligned[0], truth.image),
        "psnr_lost": psnr(aligned[0], truth.image) - psnr(aligned[1], truth.image),
        "ssim_lost": ssim(aligned[0], truth.image) - ssim(aligned[1], truth.image),
        "psnr_between": psnr(own, against.image),
        "ssim_between": ssim(own, against.image),
        "speed": float(speed[1]) if speed else None,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Folder of real pairs: w2s, other_microscopes, high_low.")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="Some of the bundled models.")
    parser.add_argument("--images", nargs="+", default=[""], metavar="WORD", help="Images whose names hold a word.")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    print("| model | image | float32 | 8 bits lose | 8 bits against float32 | speed |\n|---|---|---|---|---|---|")
    for entry in list_models():
        if not entry.bundled or (options.models and entry.name not in options.models):
            continue
        model, found = load_model(entry.path), results.setdefault(entry.name, {})
        examples = movies(options.width) if model.card.care.neighbours else stills(options.width, options.data)
        for example in examples:
            if any(word in example.name for word in options.images):
                row = found[example.name] = compared(model, example)
                print(
                    f"| {entry.name} | {example.name} | {row['psnr']:.2f} dB / {row['ssim']:.4f} | "
                    f"{row['psnr_lost']:.3f} dB / {row['ssim_lost']:.4f} | "
                    f"{row['psnr_between']:.1f} dB / {row['ssim_between']:.4f} | {row['speed']} |",
                    flush=True,
                )
    print("\n| model | mean loss | worst |\n|---|---|---|")
    for name, found in results.items():
        lost = np.array([(row["psnr_lost"], row["ssim_lost"]) for row in found.values()])
        mean, worst = lost.mean(axis=0), lost.max(axis=0)
        print(f"| {name} | {mean[0]:.3f} dB / {mean[1]:.4f} | {worst[0]:.3f} dB / {worst[1]:.4f} |")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
