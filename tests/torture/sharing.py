"""Several at once: two processes on one library, trainings and restorations side by side in one process."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from counts import QUICK, images, say, scaled, size_of_images, write_images
from fixtures.forked_programs import ForkedProgram
from killing import _model

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.models.user_folder import FOLDER_VARIABLE
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

MODELS = 8
"""That each of two processes trains into the library."""

SIDE_BY_SIDE = 8
"""Times that two trainings and two restorations run in threads of one process."""

STEPS = ("--steps", 6, "--steps-per-epoch", 2, "--preset", "lite", "--patch-size", 16, "--batch-size", 2)


def run(scale: float) -> dict[str, float]:
    """Let processes and threads work side by side."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 4, size_of_images(scale))
        before = os.environ.get(FOLDER_VARIABLE)
        os.environ[FOLDER_VARIABLE] = str(folder / "library")
        try:
            counts = _two_processes(folder, scaled(MODELS, scale))
            say(f"share: {counts}")
            return counts | _threads(folder, scaled(SIDE_BY_SIDE, scale), size_of_images(scale))
        finally:
            if before is None:
                del os.environ[FOLDER_VARIABLE]
            else:
                os.environ[FOLDER_VARIABLE] = before


def _two_processes(folder: Path, models: int) -> dict[str, float]:
    """Train in two processes into one library, half the time under one name, while a third looks at it."""
    library = folder / "library"
    library.mkdir()
    counts = {"models_by_two_processes": 0, "looks_at_their_library": 0, "twins_refused": 0}
    for number in range(models):
        names = (f"{number}", f"{number}") if number % 2 else (f"{number}a", f"{number}b")
        running = [_training(folder, library / f"{name}.safetensors") for name in names]
        while any(process.poll() is None for process in running):
            for entry in list_models():
                if not entry.bundled:
                    load_model(entry.path)
            assert all(path.suffix != ".safetensors" or load_model(path) for path in library.glob("[!.]*"))
            counts["looks_at_their_library"] += 1
            time.sleep(0.02)
        said = [process.communicate()[1] for process in running]
        refused = [text for process, text in zip(running, said, strict=True) if process.returncode]
        assert len(refused) <= number % 2, said
        assert all("is being made by another run" in text for text in refused), said
        counts["twins_refused"] += len(refused)
        counts["models_by_two_processes"] += len(set(names))
    found = {entry.name for entry in list_models() if not entry.bundled}
    assert len(found) == counts["models_by_two_processes"]
    left = [path.name for path in library.iterdir() if path.name.startswith(".")]
    assert not left, left
    return counts


def _training(folder: Path, out: Path) -> ForkedProgram:
    arguments = ("--low", folder / "low.tif", "--high", folder / "high.tif", "--loss", "mae", "--out", out)
    return ForkedProgram("train", *arguments, *STEPS)


def _threads(folder: Path, times: int, size: int) -> dict[str, float]:
    """Train twice and restore twice at once, in threads; the results are those of each alone."""
    low, model = images(3, size)[0], _model(seed=1)
    expected_image, expected_model = restore(low, model, device="cpu"), _trained(folder, "alone")
    for number in range(times):
        with ThreadPoolExecutor(max_workers=4) as threads:
            restoring = [threads.submit(restore, low, model, device="cpu") for _ in range(2)]
            training = [threads.submit(_trained, folder, f"{number}-{place}") for place in range(2)]
        for work in restoring:
            np.testing.assert_array_equal(work.result(), expected_image)
        assert [work.result() for work in training] == [expected_model] * 2
    return {"side_by_side": times}


def _trained(folder: Path, name: str) -> str:
    pairs = pairs_from_frames(read_stack(folder / "low.tif"), read_stack(folder / "high.tif"), "pair")
    settings = {**QUICK, "budget": "steps", "amount": 6, "steps_per_epoch": 3}
    trainer = Trainer(pairs, LOSSES["mae"](), TrainingParameters(**settings), device="cpu")
    out = folder / f"{name}.safetensors"
    for _ in train_to_file(trainer, out):
        pass
    return load_model(out).digest()
