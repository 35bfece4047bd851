"""How coarse the low band should be that a restoration takes from its input, measured on validation images.

    python benchmarks/low_band_sigma.py MODEL LOW HIGH FRAMES

FRAMES are comma-separated indices of frames that neither trained the model nor test it, such as the validation
images that ``napari_care_losses.training.patches.split_pairs`` sets aside. Prints the mean PSNR after
alignment with the low band as the network gives it, tied at fixed sigmas, and tied at the sigma that the noise allows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tifffile

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.low_band import noise_limited_sigma, tie_low_band
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore

SIGMAS = (5.0, 8.0, 12.0, 20.0)


def main(model_file: str, low_file: str, high_file: str, frames: str) -> None:
    """Print one line a way."""
    chosen = [int(frame) for frame in frames.split(",")]
    low, high = (np.stack([tifffile.imread(file, key=frame) for frame in chosen]) for file in (low_file, high_file))
    restored = restore(low, load_model(Path(model_file)), RestorationParameters(low_band="plain"), axes="TYX")
    rows: dict[str, list[float]] = {}
    sigmas = []
    for image, given, truth in zip(restored, low, high, strict=True):
        levels = frame_range(given, PercentileNormalization())
        mean, noisy = levels.apply(image), levels.apply(given)
        sigmas.append(noise_limited_sigma(noisy))
        ways = {"plain": mean, **{f"{sigma:g} px": tie_low_band(mean, noisy, sigma) for sigma in SIGMAS}}
        ways["as the noise allows"] = tie_low_band(mean, noisy, sigmas[-1])
        for name, way in ways.items():
            rows.setdefault(name, []).append(score(way, truth)["psnr"])
    for name, values in rows.items():
        print(f"{name:<20}{np.mean(values):.2f} dB")
    print(f"the noise allows {min(sigmas):.1f} to {max(sigmas):.1f} px")


if __name__ == "__main__":
    main(*sys.argv[1:])
