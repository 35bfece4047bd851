"""Make the CSBDeep models that the tests read, in an environment with CSBDeep: see `benchmarks/peers.sh`.

    build/bench/env/csbdeep/bin/python tools/make_csbdeep_fixture.py tests/data/csbdeep

Three small models as CSBDeep itself trains and leaves them, an image, and what CSBDeep makes of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from csbdeep.models import CARE, Config

MODELS: dict[str, dict[str, Any]] = {
    "residual": {"unet_n_depth": 1, "unet_kern_size": 5, "unet_n_first": 4, "train_loss": "mae"},
    "probabilistic": {"unet_n_depth": 2, "unet_kern_size": 3, "unet_n_first": 4, "probabilistic": True},
    "direct": {"unet_n_depth": 2, "unet_kern_size": 3, "unet_n_first": 4, "unet_residual": False, "train_loss": "mse"},
}


def main(folder: Path) -> None:
    """Write models, image and restored images into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    tf.keras.utils.set_random_seed(0)
    # odd sizes, so that it has to be padded unevenly
    rng = np.random.default_rng(0)
    image = rng.poisson(60 + 500 * np.kron(rng.random((6, 5)), np.ones((8, 9)))[:45, :39]).astype(np.uint16)
    arrays = {"image": image}
    patches = rng.random((8, 16, 16, 1), np.float32)
    with tempfile.TemporaryDirectory() as made:
        for name, settings in MODELS.items():
            if name == "probabilistic":
                _spend_names()
            config = Config(
                "YX",
                **settings,
                train_epochs=2,
                train_steps_per_epoch=3,
                train_batch_size=2,
                train_learning_rate=0.004,
                train_tensorboard=False,
            )
            model = CARE(config, name, basedir=made)
            model.train(patches, 2 * patches**2, validation_data=(patches[:2], 2 * patches[:2] ** 2))
            if config.probabilistic:
                prediction = model.predict_probabilistic(image, "YX")
                arrays[name], arrays[f"{name}_scale"] = prediction.mean(), prediction.scale()
            else:
                arrays[name] = model.predict(image, "YX")
            print(name, [layer.name for layer in model.keras_model.layers if layer.weights][-2:])
            (folder / name).mkdir(parents=True)
            # a folder without its best weights is one of the cases
            weights = "weights_last.h5" if name == "direct" else "weights_best.h5"
            if name == "direct":
                model.load_weights(weights)
                arrays[name] = model.predict(image, "YX")
            for file in ("config.json", weights):
                shutil.copy(Path(made) / name / file, folder / name / file)
    np.savez_compressed(folder / "restored.npz", **arrays)


def _spend_names() -> None:
    """Make layers without names until the next ones are conv2d_9 and conv2d_10, which sort otherwise as text."""
    while True:
        number = tf.keras.layers.Conv2D(1, 1).name.rpartition("_")[2]
        if number.isdigit() and int(number) >= 8:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
