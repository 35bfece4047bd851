"""What the benchmarks ask of this project, in its own environment."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import platform
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from profiling import profile_restoring, profile_training
from wire import serve

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch, Step
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

PACKAGES = ("napari-care-losses", "torch", "openvino", "numpy", "scipy", "tifffile", "napari")

Answer = dict[str, Any]


def versions() -> Answer:
    """Return the versions of Python and of what the figures depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def matmul(size: int, repeats: int) -> Answer:
    """Return the rate of a float32 matrix product by numpy and by torch, in GFLOP/s, the best of the repeats."""
    left = np.random.default_rng(0).random((size, size), dtype=np.float32)
    right = left.T.copy()
    tensors = torch.from_numpy(left), torch.from_numpy(right)
    rates = {}
    for name, (a, b) in {"numpy": (left, right), "torch": tensors}.items():
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            a @ b
            seconds.append(time.perf_counter() - begun)
        rates[name] = 2 * size**3 / min(seconds) / 1e9
    return rates


def engines() -> Answer:
    """Return the engines for processors that can be chosen here."""
    has_openvino = importlib.util.find_spec("openvino") is not None
    return {"engines": ["torch", "openvino", "openvino-int8"] if has_openvino else ["torch"]}


def predict(model: str, engine: str, image: str, frames: int = 3, tile_size: int | None = None) -> Answer:
    """Restore an image `frames` times as one stack in memory.

    Returns
    -------
    dict
        ``first``, seconds to the first frame with the engine being made; ``further``, seconds a frame after it, None
        for fewer than three frames; ``total``.
    """
    parameters = _parameters(engine, tile_size)
    loaded, stack = _model(model), Frames(np.broadcast_to(_image(image), (frames, *_image(image).shape)), "TYX")
    stamps = [time.perf_counter()]
    for progress in restore_frames(stack, loaded, parameters):
        if progress.frame is not None:
            stamps.append(time.perf_counter())
    # Every frame is read beside the computing of the one before, so the last one's time holds no reading.
    further = (stamps[-2] - stamps[1]) / (frames - 2) if frames > 2 else None
    return {"first": stamps[1] - stamps[0], "further": further, "total": stamps[-1] - stamps[0]}


def predict_to(model: str, engine: str, image: str, out: str) -> Answer:
    """Restore an image or a stack and save it as .npy."""
    np.save(out, restore(_image(image), _model(model), _parameters(engine)))
    return {}


def scores(model: str, engine: str, low: str, high: str) -> Answer:
    """Return the mean scores of a restored stack, aligned to its truth as CARE does."""
    return _scores(_model(model), np.load(low), np.load(high), engine)


def scores_of(restored: str, high: str) -> Answer:
    """Return the mean scores of a stack that a peer has restored."""
    return _mean([score(image, truth) for image, truth in zip(np.load(restored), np.load(high), strict=True)])


_trainings: dict[tuple[str, str], Iterator[Any]] = {}


def open_training(preset: str, loss: str, low: str, high: str) -> Answer:
    """Start a training at a constant rate, at CSBDeep's batch and patch size."""
    # No epoch ends while steps are timed: CSBDeep's validation is left out of its time as well.
    parameters = TrainingParameters(preset=preset, steps_per_epoch=100_000)
    _trainings[preset, loss] = iter(Trainer(_pairs(low, high), LOSSES[loss](), parameters).run())
    return {}


def train_steps(preset: str, loss: str, steps: int) -> Answer:
    """Go on with an open training; return the seconds its steps took, the drawing of patches included."""
    reports = (report for report in _trainings[preset, loss] if isinstance(report, Step))
    begun = time.perf_counter()
    for _ in itertools.islice(reports, steps):
        pass
    return {"seconds": time.perf_counter() - begun}


def train_to_quality(
    low: str,
    high: str,
    validation: list[int],
    settings: dict[str, Any],
    loss: str,
    seconds: float,
    engine: str,
    out: str,
) -> Answer:
    """Train for a number of seconds, scoring the best model so far at every epoch's end outside of the clock."""
    pairs, lows, highs = _pairs(low, high), np.load(low)[validation], np.load(high)[validation]
    parameters = TrainingParameters(budget="minutes", amount=seconds / 60, **settings)
    trainer = Trainer(pairs, LOSSES[loss](), parameters)
    course: list[Answer] = []
    spent, begun = 0.0, time.perf_counter()
    prepared = 0.0
    for report in trainer.run():
        now = time.perf_counter()
        if isinstance(report, Epoch | Step):
            spent += now - begun
        else:
            prepared += now - begun
        if isinstance(report, Epoch):
            reached = _scores(trainer.model(), lows, highs, engine)
            course.append({"seconds": spent, "steps": report.step, **reached})
        begun = time.perf_counter()
    trainer.model().save(Path(out))
    return {"seconds": spent, "prepared": prepared, "steps": course[-1]["steps"], "course": course}


def _scores(model: Model, lows: NDArray[Any], highs: NDArray[Any], engine: str) -> Answer:
    restored = restore(lows, model, _parameters(engine), axes="TYX")
    return _mean([score(image, truth) for image, truth in zip(restored, highs, strict=True)])


def _mean(values: list[dict[str, float]]) -> Answer:
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def _parameters(engine: str, tile_size: int | None = None) -> RestorationParameters:
    values: dict[str, Any] = {} if tile_size is None else {"tile_size": tile_size}
    if "engine" in RestorationParameters.described():
        values["engine"] = engine
    return RestorationParameters(**values)


def _pairs(low: str, high: str) -> list[Pair]:
    return [Pair(*images, f"pair {i}") for i, images in enumerate(zip(np.load(low), np.load(high), strict=True))]


@cache
def _model(path: str) -> Model:
    return load_model(Path(path))


@cache
def _image(path: str) -> NDArray[Any]:
    return np.load(path)


def layers(model: str, engine: str, image: str) -> Answer:
    """Return where the time of a restored image goes, layer by layer."""
    return {"layers": profile_restoring(_model(model), _parameters(engine), _image(image), engine)}


def training_operations(preset: str, loss: str, low: str, high: str, steps: int) -> Answer:
    """Return where the time of training steps goes."""
    parameters = TrainingParameters(preset=preset, steps_per_epoch=100_000)
    trainer = Trainer(_pairs(low, high), LOSSES[loss](), parameters)
    return {"layers": profile_training(trainer, steps)}


if __name__ == "__main__":
    serve(
        {
            function.__name__: function
            for function in (
                versions,
                matmul,
                engines,
                predict,
                predict_to,
                scores,
                scores_of,
                open_training,
                train_steps,
                train_to_quality,
                layers,
                training_operations,
            )
        }
    )
