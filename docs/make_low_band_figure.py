"""Make docs/images/low_band.png: what tying the low band does to a bandpass restoration.

python docs/make_low_band_figure.py
"""

from pathlib import Path

from scipy.ndimage import gaussian_filter

from napari_care_losses.comparison.report.panels import save_panels
from napari_care_losses.evaluation.metrics import align, scale_truth, score
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

SEED, SIGMA, AMPLIFIED = 7, 5, 4


def main() -> None:
    """Restore one simulated field both ways; show each and the error of its low band, aligned to the truth."""
    low, truth = simulate_pair("mitochondria", (256, 256), seed=SEED)
    model = load_model(find_model("bandpass-lite"))
    clean = scale_truth(truth).image
    images, errors = {"Ground truth": clean}, {}
    for form in ("plain", "tied"):
        restored = restore(low, model, RestorationParameters(low_band=form))
        scores = score(restored, truth)
        aligned = align(restored, clean)
        images[f"Bandpass, {form}\n{scores['psnr']:.1f} dB, SSIM {scores['ssim']:.3f}"] = aligned
        error = gaussian_filter(aligned - clean, SIGMA)
        errors[f"{form}: error of the low band,\namplified {AMPLIFIED} times"] = 0.5 + AMPLIFIED * error
        print(f"{form}: {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}")
    low_band = {f"Ground truth: low band\n(Gaussian of {SIGMA} px)": gaussian_filter(clean, SIGMA)}
    path = Path(__file__).parent / "images" / "low_band.png"
    save_panels(path, {**images, **low_band, **errors}, columns=3, limits=(0, 1))


if __name__ == "__main__":
    main()
