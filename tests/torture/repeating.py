"""The same seed and number of threads give the same model on any run; other numbers of threads the same scores."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from children import succeeded
from counts import images, say, scaled, write_images

from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore

THREADS = (1, 2, 4)
RUNS = 2
STEPS = 100
LARGEST_DIFFERENCE = 0.05
"""In dB, between the scores of models trained in other numbers of threads."""


def run(scale: float) -> dict[str, float]:
    """Train in processes of one and of more threads, several times each; restore and score with each model."""
    steps = scaled(STEPS, scale)
    low, high = images(3, seed=1)
    scores = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 5)
        for threads in THREADS[: scaled(len(THREADS), scale)]:
            models = [_trained(folder, steps, threads) for _ in range(RUNS)]
            assert len({model.digest() for model in models}) == 1, f"{threads} threads: not the same model"
            restored = Frames(restore(low, models[0], device="cpu"), "TYX")
            scores[threads] = evaluate({"restored": restored}, Frames(high, "TYX"))["mean"]["restored"]["psnr"]
            say(f"repeat: {RUNS} equal models of {threads} threads, {scores[threads]:.3f} dB")
    spread = max(scores.values()) - min(scores.values())
    assert spread <= LARGEST_DIFFERENCE, scores
    return {"equal_trainings": RUNS * len(scores), "db_between_thread_counts": round(spread, 4)}


def _trained(folder: Path, steps: int, threads: int):
    out = folder / "model.safetensors"
    options = ("--loss", "fft", "--preset", "lite", "--recipe", "robust", "--steps", steps, "--validation-patches", 16)
    succeeded("train", "--low", "low.tif", "--high", "high.tif", "--out", out, *options, threads=threads, folder=folder)
    return load_model(out)
