"""Where a restoration contradicts its input: which planted and erased structures are found, and what is found falsely.

    python benchmarks/contradictions.py [FOLDER]

The fields are simulated, with photon and read noise. The restoration is the noiseless field itself, perfect, or with
Gaussian spots planted into it or erased from it. FOLDER holds real pairs as for ``baselines.py``, of which the long
exposure and what a model restores are looked at. The tables go into ``docs/explanation/contradictions.md``.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from baselines import sets
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.without_truth.contradictions import RATE, SIGMA, find_contradictions
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import draw_structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float64]

STRUCTURES, PHOTONS = ("actin", "mitochondria", "vesicles"), (3, 10, 40)
FIELDS, SIZE, SEED = 10, 384, 90_000
GAIN, OFFSET, READ = 2.0, 100.0, 3.0
TRUE_NOISE = NoiseModel(slope=GAIN, intercept=READ**2 - GAIN * OFFSET, least=READ**2)
SIZES, STRENGTHS = (1.0, 2.0, 4.0), (0.5, 1.0, 2.0, 4.0)
# distance of spots from one another, and how far in their standard deviations and pixels they reach
STEP, REACH = 48, 4.0
BLUR = 0.7
"""Standard deviation in pixels of the blur that makes neighbours share noise."""


def field(structure: str, photons: float, seed: int) -> tuple[Image, Image]:
    """Return a noiseless field whose cells have so many photons a pixel on average, and it with noise."""
    rng = np.random.default_rng(seed)
    light = blur(draw_structure(structure, (SIZE, SIZE), rng), Microscope()).astype(np.float64)
    truth = GAIN * photons * light + OFFSET
    return truth, GAIN * rng.poisson(photons * light) + OFFSET + rng.normal(0, READ, truth.shape)


def spots(size: float, variance: Image, strength: float) -> tuple[Image, list[tuple[int, int, int]]]:
    """Return Gaussian spots, as high as so many standard deviations of a pixel's noise, and their places and signs."""
    places = [(y, x, 1 - 2 * ((y + x) // STEP % 2)) for y in range(STEP, SIZE, STEP) for x in range(STEP, SIZE, STEP)]
    points = np.zeros(variance.shape)
    for y, x, sign in places:
        points[y, x] = sign * strength * np.sqrt(variance[y, x]) * 2 * np.pi * size**2
    return gaussian_filter(points, size, truncate=6), places


def false_marks(*, blurred: bool) -> None:
    """Print how often something is found in perfect restorations."""
    print(
        "\n| structure | photons | fields | refused | marked, noise known | marked, noise estimated | largest share |"
    )
    print("|---" * 7 + "|")
    for structure, photons in product(STRUCTURES, PHOTONS):
        known, estimated, refused, largest = 0, 0, 0, 0.0
        for place in range(FIELDS):
            truth, noisy = field(structure, photons, SEED + place)
            if blurred:
                truth, noisy = (gaussian_filter(each, BLUR) for each in (truth, noisy))
            else:
                known += find_contradictions(noisy, truth, TRUE_NOISE).share > 0
            try:
                share = find_contradictions(noisy, truth).share
            except InputError:
                refused += 1
                continue
            estimated += share > 0
            largest = max(largest, share)
        cells = structure, photons, FIELDS, refused, "-" if blurred else known, estimated, f"{largest:.2%}"
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def planted() -> None:
    """Print which spots are found, and the share of false pixels among those found."""
    print("\n| spot, sigma (px) | height (noise) | erased: found | planted: found | false pixels among those found |")
    print("|---" * 5 + "|")
    for size, strength in product(SIZES, STRENGTHS):
        found: dict[int, list[bool]] = {1: [], -1: []}
        shares = []
        for place, (structure, photons) in enumerate(product(STRUCTURES, PHOTONS)):
            truth, noisy = field(structure, photons, SEED + place)
            added, places = spots(size, TRUE_NOISE.variance(truth), strength)
            # a spot that is missing in the restoration is positive
            result = find_contradictions(noisy, truth - added, estimate_noise(noisy))
            y, x = np.indices(truth.shape)
            is_true = np.zeros(truth.shape, bool)
            for row, column, sign in places:
                distance = np.hypot(y - row, x - column)
                is_true |= distance <= REACH * np.hypot(size, 2)
                found[sign].append(bool((result.found & (sign * result.deviation > 0) & (distance <= size + 1)).any()))
            marks = int(result.found.sum())
            shares.append((result.found & ~is_true).sum() / marks if marks else 0.0)
        cells = (
            f"{size:g}",
            f"{strength:g}",
            f"{np.mean(found[1]):.0%}",
            f"{np.mean(found[-1]):.0%}",
            f"{np.mean(shares):.1%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def real(folder: Path) -> None:
    """Print how much of real images contradicts their long exposures, and what a model restores from them.

    Of what is marked in the latter, the long exposure agrees where it differs from the restoration to the same side.
    """
    model = load_model(find_model("fft-lite"))
    print(
        "\n| images | number | refused | marked: long exposure | marked: restored by fft-lite | long exposure agrees |"
    )
    print("|---" * 6 + "|")
    for name, pairs in sets(folder):
        shares, refused, agreed = [], 0, []
        for low, high in pairs:
            restored = restore(low, model)
            try:
                of_truth, found = find_contradictions(low, high), find_contradictions(low, restored)
            except InputError:
                refused += 1
                continue
            shares.append([of_truth.share, found.share])
            # both in the grey levels of the input
            lines = (fit_line(made, low) for made in (high, restored))
            clean, made = (slope * each + offset for (slope, offset), each in zip(lines, (high, restored), strict=True))
            is_brighter = gaussian_filter(clean - made, SIGMA) > 0
            agreed += (is_brighter == (found.deviation > 0))[found.found].tolist()
        cells = [f"{share:.2%}" for share in np.mean(shares, axis=0)] if shares else ["-", "-"]
        cells.append(f"{np.mean(agreed):.0%}" if agreed else "-")
        print(f"| {' | '.join([name, str(len(pairs)), str(refused), *cells])} |", flush=True)


if __name__ == "__main__":
    print(f"False discovery rate {RATE:.0%}.\n\nPerfect restorations:")
    false_marks(blurred=False)
    print(f"\nThe same, input and field blurred by {BLUR} px, so that neighbours share noise:")
    false_marks(blurred=True)
    print("\nSpots:")
    planted()
    for argument in sys.argv[1:]:
        print("\nReal pairs, mean share of the frame:")
        real(Path(argument))
