"""Make docs/images/low_band.png: what tying the low band does to a bandpass restoration.

python docs/make_low_band_figure.py
"""

from pathlib import Path

from scipy.ndimage import gaussian_filter

from napari_care_losses.core.library import find_model
from napari_care_losses.core.metrics import score
from napari_care_losses.core.model import load_model
from napari_care_losses.core.pictures import save_panels
from napari_care_losses.core.restoration import RestorationParameters, restore
from napari_care_losses.core.simulation import simulate_pair

SEED, SIGMA = 11, 5


def main() -> None:
    """Restore one simulated field both ways and write image and low band of each side by side."""
    low, truth = simulate_pair("actin", (256, 256), seed=SEED)
    model = load_model(find_model("actin-bandpass-lite"))
    images = {"Ground truth": truth}
    for form, label in (("plain", "Bandpass, plain"), ("tied", "Bandpass, low band tied")):
        restored = restore(low, model, RestorationParameters(low_band=form))
        scores = score(restored, truth)
        images[f"{label}\n{scores['psnr']:.1f} dB, SSIM {scores['ssim']:.3f}"] = restored
        print(f"{label}: {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}")
    blurred = {
        f"Low band (sigma {SIGMA} px)\nof: {label.splitlines()[0]}": gaussian_filter(image.astype("float32"), SIGMA)
        for label, image in images.items()
    }
    save_panels(Path(__file__).parent / "images" / "low_band.png", {**images, **blurred}, columns=3)


if __name__ == "__main__":
    main()
