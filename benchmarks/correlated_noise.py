"""Restore simulated images whose noise neighbouring pixels share in every way there is; say what is gained.

    python benchmarks/correlated_noise.py

The table goes into ``docs/explanation/noise.md``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from noise_estimate import camera
from page import write_part
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, draw_structure

PAGE = Path("docs/explanation/noise.md")
MODEL = "fft-lite"
PHOTONS = (10, 30)
SIGMAS = {
    "white": (0, 0),
    **{f"blurred, sigma {sigma} px": (sigma, sigma) for sigma in (0.6, 0.7, 0.9)},
    "blurred along x, sigma 0.7 px": (0, 0.7),
}


def main() -> None:
    """Measure, and write the table."""
    model = load_model(find_model(MODEL))
    lights = []
    for name in STRUCTURES:
        light = blur(draw_structure(name, (256, 256), np.random.default_rng(3)), Microscope()).astype(np.float64)
        lights.append(light / np.percentile(light, 99.9))
    lines = [
        "| noise | left as it is | decorrelated | at half resolution | gain, dB | of `half`, dB |",
        "|---" * 6 + "|",
    ]
    for kind, sigma in SIGMAS.items():
        counts, gains, halves = {"": 0, "decorrelated": 0, "half": 0}, [], []
        for light in lights:
            for photons in PHOTONS:
                low = gaussian_filter(camera(photons * light), sigma).astype(np.float32)
                high = gaussian_filter(light, sigma)
                treatment = choose_treatment(Frames(low), model.card, RestorationParameters())
                psnr = {}
                for how in ("ignore", "half", *(("auto",) if treatment.correlation else ())):
                    parameters = RestorationParameters(correlated_noise=how)
                    psnr[how] = score(restore(low, model, parameters, device="cpu"), high)["psnr"]
                psnr.setdefault("auto", psnr["half"])
                counts["half" if treatment.halves else "" if treatment.correlation is None else "decorrelated"] += 1
                halves.append(psnr["half"] - psnr["ignore"])
                if treatment.identity:
                    gains.append(psnr["auto"] - psnr["ignore"])
        lines.append(f"| {kind} | {' | '.join(map(str, counts.values()))} | {spread(gains)} | {spread(halves)} |")
        print(lines[-1], flush=True)
    write_part("shared noise", "\n".join(lines), PAGE)


def spread(gains: list[float]) -> str:
    """Return the least, the median and the largest."""
    low, middle, high = np.percentile(gains, (0, 50, 100)) if gains else (0, 0, 0)
    return f"{low:+.1f}, {middle:+.1f}, {high:+.1f}" if gains else "-"


if __name__ == "__main__":
    main()
