"""Compare the PSNR that is estimated without a ground truth with the true one.

    python benchmarks/estimated_psnr.py FOLDER [MODEL]

FOLDER holds pairs as for ``baselines.py``; six simulated pairs of every structure are added. The model is ``fft-lite``
by default. The table goes into ``docs/explanation/estimated_psnr.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from baselines import sets

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.estimated_psnr import estimate_psnr
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIMULATED, SIZE, SEED = 6, 384, 80_000


def main(folder: str, model_name: str = "fft-lite") -> None:
    """Estimate for every pair, and print the table."""
    model = load_model(find_model(model_name))
    print("| images | number | estimated | mean difference (dB) | within 1 dB | intervals that hold the truth |")
    print("|---" * 6 + "|")
    for name, pairs in [*sets(Path(folder), every_frame=True), *_simulated()]:
        differences, holds = [], []
        for low, high in pairs:
            try:
                estimate = estimate_psnr(low, lambda frame: restore(frame, model), estimate_noise(low))
            except InputError as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            true = score(restore(low, model), high)["psnr"]
            differences.append(estimate.psnr - true)
            holds.append(estimate.least <= true <= estimate.most)
        cells = [name, str(len(pairs)), str(len(differences)), "-", "-", "-"]
        if differences:
            near = np.mean(np.abs(differences) < 1)
            cells[3:] = f"{np.mean(differences):+.2f}", f"{near:.0%}", f"{np.mean(holds):.0%}"
        print(f"| {' | '.join(cells)} |", flush=True)


def _simulated() -> Iterator[tuple[str, list[tuple[NDArray[Any], NDArray[Any]]]]]:
    for place, name in enumerate(STRUCTURES):
        seeds = range(SEED + 100 * place, SEED + 100 * place + SIMULATED)
        drawn = [simulate_varied_pair(name, (SIZE, SIZE), seed=seed, most_correlation=0.0) for seed in seeds]
        yield f"simulated {name}", drawn


if __name__ == "__main__":
    main(*sys.argv[1:])
