"""What the benchmarks ask of CSBDeep, in an environment of its own."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from csbdeep.data import RawData, create_patches
from csbdeep.models import CARE, Config
from wire import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

PATCH = (64, 64)
PATCHES = 800
"""Patches of every image, as in the paper."""

PACKAGES = ("csbdeep", "tensorflow-cpu", "keras", "numpy")

Answer = dict[str, Any]


def versions() -> Answer:
    """Return the versions of Python and of what the figures depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


_models: dict[str, CARE] = {}


def open_model(weights: str) -> Answer:
    """Build CSBDeep's default network and give it this project's weights."""
    model = CARE(Config("YX", probabilistic=False), None, basedir=None)
    names = _keras_names(model)
    with np.load(weights) as file:
        for ours, theirs in names.items():
            # torch keeps kernels as output, input, Y, X; Keras as Y, X, input, output
            kernel = file[f"{ours}.weight"].transpose(2, 3, 1, 0)
            model.keras_model.get_layer(theirs).set_weights([kernel, file[f"{ours}.bias"]])
    _models["restoring"] = model
    return {}


def _keras_names(model: CARE) -> dict[str, str]:
    depth = model.config.unet_n_depth
    names = {f"down.{n}.{i}": f"down_level_{n}_no_{i}" for n in range(depth) for i in range(2)}
    names |= {"middle.0": "middle_0", "middle.1": "middle_2"}
    names |= {f"up.{depth - 1 - n}.{i}": f"up_level_{n}_no_{2 * i}" for n in range(depth) for i in range(2)}
    others = [
        layer.name
        for layer in model.keras_model.layers
        if isinstance(layer, tf.keras.layers.Conv2D) and layer.name not in names.values()
    ]
    (names["mean"],) = others
    return names


def predict(image: str, tiles: int, out: str | None = None) -> Answer:
    """Restore an image in `tiles` x `tiles` tiles; return the seconds it took."""
    pixels = np.load(image)
    begun = time.perf_counter()
    restored = _models["restoring"].predict(pixels, "YX", n_tiles=(tiles, tiles))
    seconds = time.perf_counter() - begun
    if out is not None:
        np.save(out, restored)
    return {"seconds": seconds}


class _Clock(tf.keras.callbacks.Callback):
    """Times an epoch from its first step's start to its last step's end: the validation is left out."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.begun = self.begun or time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.begun


_trainings: dict[bool, tuple[CARE, _Clock, Any, Any]] = {}


def open_training(probabilistic: bool, low: str, high: str) -> Answer:
    """Prepare a training with CSBDeep's defaults on patches cut by its own function."""
    images, targets = _patches(np.load(low), np.load(high), 128)
    model = CARE(Config("YX", probabilistic=probabilistic), None, basedir=None)
    model.prepare_for_training()
    clock = _Clock()
    model.callbacks.append(clock)
    _trainings[probabilistic] = model, clock, images, targets
    return {}


def train_steps(probabilistic: bool, steps: int) -> Answer:
    """Train one epoch of so many steps through `CARE.train`; return the seconds of its steps."""
    model, clock, images, targets = _trainings[probabilistic]
    model.train(images, targets, (images[:16], targets[:16]), epochs=1, steps_per_epoch=steps)
    return {"seconds": clock.seconds}


def train_to_quality(low: str, high: str, training: list[int], validation: list[int], steps: int, out: str) -> Answer:
    """Train a probabilistic network for so many steps with CSBDeep's defaults; save the restored validation images."""
    lows, highs = np.load(low), np.load(high)
    config = Config("YX")
    each = min(steps, config.train_steps_per_epoch)
    # As many patches as the steps can see.
    count = -(-steps * config.train_batch_size // len(training))
    with _quality_training(lows, highs, training, validation, count) as (model, data, prepared):
        begun = time.perf_counter()
        model.train(*data, epochs=steps // each, steps_per_epoch=each)
        seconds = time.perf_counter() - begun
        np.save(out, np.stack([model.predict(image, "YX") for image in lows[validation]]))
    return {"seconds": seconds, "prepared": prepared, "steps": steps // each * each}


def train_for(
    low: str,
    high: str,
    training: list[int],
    validation: list[int],
    seconds: float,
    inputs: list[str],
    outs: list[str],
) -> Answer:
    """Train a probabilistic network for a number of seconds with CSBDeep's defaults; restore stacks with the best.

    The epoch that the time ends in is validated like the others, so that what it learnt may count.
    """
    lows, highs = np.load(low), np.load(high)
    with _quality_training(lows, highs, training, validation, PATCHES) as (model, data, prepared):
        model.prepare_for_training()
        deadline = _Deadline(seconds)
        model.callbacks.append(deadline)
        model.train(*data)
        for stack, out in zip(inputs, outs, strict=True):
            np.save(out, np.stack([model.predict(image, "YX") for image in np.load(stack)]))
    return {"seconds": deadline.seconds, "prepared": prepared, "steps": deadline.steps}


class _Deadline(tf.keras.callbacks.Callback):
    """Ends a training when its time is up."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.allowed, self.seconds, self.steps = seconds, 0.0, 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        self.seconds = time.perf_counter() - self._begun
        if self.seconds > self.allowed:
            self.model.stop_training = True


@contextmanager
def _quality_training(
    lows: Any, highs: Any, training: list[int], validation: list[int], count: int
) -> Iterator[tuple[Any, Any, float]]:
    """Give a probabilistic network, `count` patches an image to train on with others to validate, and their seconds."""
    np.random.seed(0)
    tf.random.set_seed(0)
    config = Config("YX", probabilistic=True, train_tensorboard=False)
    begun = time.perf_counter()
    images, targets = _patches(lows[training], highs[training], count)
    seen = _patches(lows[validation], highs[validation], -(-128 // len(validation)))
    prepared = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        yield CARE(config, "model", basedir=folder), (images, targets, seen), prepared


def _patches(lows: Any, highs: Any, count: int) -> tuple[Any, Any]:
    images, targets, _ = create_patches(RawData.from_arrays(lows, highs, axes="YX"), PATCH, count, verbose=False)
    return np.moveaxis(images, 1, -1), np.moveaxis(targets, 1, -1)


if __name__ == "__main__":
    commands = (versions, open_model, predict, open_training, train_steps, train_to_quality, train_for)
    serve({function.__name__: function for function in commands})
