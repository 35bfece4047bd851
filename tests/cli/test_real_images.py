"""The whole way on real images, by the command line: train on some W2S fields of view, restore others, score them."""

import json

import pytest
from scipy.ndimage import gaussian_filter

from napari_care_losses.cli.main import main
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.io.tiff_reader import read_tiff

STEPS = 400


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "beats_every_blur"), [("laplace", False), ("fft", True), ("bandpass", True)])
def test_a_short_training_restores_fields_it_has_not_seen(loss, beats_every_blur, shared_data, tmp_path, capsys):
    """These images are so smooth that a blur does well; the Laplace loss takes longer than this to pass it."""
    low, high = (shared_data / "w2s" / f"mitochondria_{exposure}.tif" for exposure in ("low", "high"))
    model, out = tmp_path / "model.safetensors", tmp_path / "restored.tif"
    train = ["train", "--low", low, "--high", high, "--frames", "0:60", "--loss", loss, "--preset", "lite"]
    assert main([*map(str, train), "--recipe", "paper", "--steps", str(STEPS), "--out", str(model)]) == 0
    assert main(["restore", str(model), str(low), "--frames", "60:63", "--out", str(out)]) == 0
    capsys.readouterr()
    scoring = ["evaluate", "--restored", out, "--truth", high, "--input", low, "--frames", "60:63", "--json"]
    assert main([*map(str, scoring)]) == 0
    mean = json.loads(capsys.readouterr().out)["mean"]
    assert mean["restored"]["psnr"] > mean["input"]["psnr"] + 8
    if not beats_every_blur:
        return
    noisy, clean = (read_tiff(path).select(60, 63) for path in (low, high))
    for sigma in (1, 1.5, 2, 3):
        blurred = [
            score(gaussian_filter(image.astype(float), sigma), truth) for image, truth in zip(noisy, clean, strict=True)
        ]
        assert mean["restored"]["psnr"] > sum(scores["psnr"] for scores in blurred) / len(blurred)
