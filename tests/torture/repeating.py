"""The same seed and number of threads give the same model on any run; other numbers of threads the same scores."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from children import succeeded
from counts import images, say, scaled, size_of_images, write_images
from fixtures.forked_programs import run_forked

from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import Model, load_model
from napari_care_losses.restoration.restore_stack import restore

THREADS = (1, 2, 4)
RUNS = 2
STEPS = 100
LARGEST_DIFFERENCE = 0.05
"""In dB, between the scores of models trained in other numbers of threads."""


def run(scale: float) -> dict[str, float]:
    """Train in processes of one and of more threads, several times each; restore and score with each model."""
    steps, size = scaled(STEPS, scale), size_of_images(scale)
    low, high = images(3, size, seed=1)
    scores = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 5, size)
        for threads in THREADS[: scaled(len(THREADS), scale)]:
            models = [_trained(folder, steps, threads) for _ in range(RUNS)]
            assert len({model.digest() for model in models}) == 1, f"{threads} threads: not the same model"
            restored = Frames(restore(low, models[0], device="cpu"), "TYX")
            scores[threads] = evaluate({"restored": restored}, Frames(high, "TYX"))["mean"]["restored"]["psnr"]
            say(f"repeat: {RUNS} equal models of {threads} threads, {scores[threads]:.3f} dB")
    spread = max(scores.values()) - min(scores.values())
    assert spread <= LARGEST_DIFFERENCE, scores
    return {"equal_trainings": RUNS * len(scores), "db_between_thread_counts": round(spread, 4)}


def _trained(folder: Path, steps: int, threads: int) -> Model:
    out = folder / "model.safetensors"
    options = ("--loss", "fft", "--preset", "lite", "--recipe", "robust", "--steps", steps, "--validation-patches", 16)
    command = ("train", "--low", folder / "low.tif", "--high", folder / "high.tif", "--out", out, *options)
    if threads == 1:
        # those that are forked compute in one
        done = run_forked(*command)
        assert done.returncode == 0, done.stderr
    else:
        succeeded(*command, threads=threads)
    return load_model(out)
