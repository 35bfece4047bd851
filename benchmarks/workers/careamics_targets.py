"""Training without clean images by CAREamics, in an environment of its own."""

from __future__ import annotations

import datetime
import tempfile
import time
import warnings
from typing import Any

import numpy as np
from careamics import CAREamist
from careamics.config.factories import create_n2n_config, create_n2v_config
from lightning.pytorch.callbacks import Timer
from wire import serve

Answer = dict[str, Any]

METHODS = {"n2v": {}, "n2v2": {"use_n2v2": True}, "n2n": {}}
"""Noise2Void and N2V2 on the noisy images alone, Noise2Noise on two shots, and their settings that are not defaults."""


def train_and_restore(method: str, low: str, shot: str | None, minutes: float, test: str, out: str) -> Answer:
    """Train on images (N, Y, X) for a time with CAREamics' defaults, then restore others.

    Returns
    -------
    dict
        The ``seconds`` of training, its preparation included, and its ``steps`` of 16 patches of 64 x 64 px.
    """
    shared = {
        "experiment_name": method,
        "data_type": "array",
        "axes": "SYX",
        "patch_size": [64, 64],
        "batch_size": 16,
        "num_epochs": 10_000,
    }
    config = create_n2n_config(**shared) if method == "n2n" else create_n2v_config(**shared, **METHODS[method])
    timer = Timer(duration=datetime.timedelta(minutes=minutes), interval="step")
    with tempfile.TemporaryDirectory() as folder:
        careamist = CAREamist(config, work_dir=folder, callbacks=[timer], enable_progress_bar=False)
        begun = time.perf_counter()
        images = np.load(low).astype(np.float32)
        targets = {} if shot is None else {"train_data_target": np.load(shot).astype(np.float32)}
        careamist.train(train_data=images, **targets)
        seconds = time.perf_counter() - begun
        restored, _ = careamist.predict(np.load(test).astype(np.float32), axes="SYX", data_type="array", batch_size=1)
        np.save(out, np.concatenate([np.asarray(image).reshape(-1, *np.shape(image)[-2:]) for image in restored]))
    return {"seconds": seconds, "steps": int(careamist.trainer.global_step)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve({function.__name__: function for function in (train_and_restore,)})
