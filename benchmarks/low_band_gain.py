"""Score a bandpass model's restorations with the low band's gain taken from bands of several widths.

    python benchmarks/low_band_gain.py bandpass.safetensors low.tif high.tif 2,4,8,10,16,20,27,34,42,51,52,57

The frames named here are the validation images of a training on frames 0:60 with seed 0.
"""

import sys
from pathlib import Path

import numpy as np

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration import low_band
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore_frames

BANDS = ((0.5, 1.0), (0.8, 1.6), (1.0, 2.0))
"""In units of sigma."""


def main(model_path: str, low_path: str, high_path: str, numbers: str) -> None:
    """Print mean PSNR and SSIM of the plain restoration and of one tied with every band."""
    model, low, high = load_model(Path(model_path)), read_tiff(Path(low_path)), read_tiff(Path(high_path))
    indices = [int(number) for number in numbers.split(",")]
    scores: dict[str, list[list[float]]] = {}
    for progress in restore_frames(low, model, RestorationParameters(low_band="plain"), indices=indices):
        if progress.frame is None:
            continue
        frame, truth = low[progress.frame.index], high[progress.frame.index]
        grey_levels = frame_range(frame, model.card.normalization)
        restored, noisy = grey_levels.apply(progress.frame.image), grey_levels.apply(frame)
        scores.setdefault("plain", []).append(list(score(restored, truth).values()))
        for band in BANDS:
            low_band.GAIN_BAND = band
            tied = low_band.tie_low_band(restored, noisy)
            scores.setdefault(f"gain from {band[0]:g} to {band[1]:g} sigma", []).append(
                list(score(tied, truth).values())
            )
    for name, values in scores.items():
        psnr, ssim = np.mean(values, axis=0)
        print(f"{name}: {psnr:.2f} dB, SSIM {ssim:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
