"""What the benchmarks ask of CAREamics, in an environment of its own."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
import time
import warnings
from typing import Any

import numpy as np
import torch
from careamics import CAREamist
from careamics.config.factories import create_care_config
from wire import serve

PACKAGES = ("careamics", "torch", "lightning", "numpy")

Answer = dict[str, Any]

_folder = tempfile.TemporaryDirectory()
_open: dict[str, CAREamist] = {}


def versions() -> Answer:
    """Return the versions of Python and of what the figures depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def open_model() -> Answer:
    """Build the default CARE network; two steps of training give the statistics and the checkpoint it restores with.

    Returns
    -------
    dict
        The network's ``parameters`` and ``multiply_adds`` a pixel.
    """
    config = create_care_config(
        experiment_name="speed",
        data_type="array",
        axes="YX",
        patch_size=[64, 64],
        batch_size=8,
        num_epochs=1,
        num_steps=2,
    )
    careamist = CAREamist(config, work_dir=_folder.name, enable_progress_bar=False)
    noise = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    careamist.train(train_data=noise, train_data_target=noise)
    _open["restoring"] = careamist
    network = careamist.model.model
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": _multiply_adds(network),
    }


def _multiply_adds(network: torch.nn.Module) -> int:
    """Return the multiply-adds of the convolutions, for each pixel of the image."""
    size, counted = 64, []

    def count(module: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        counted.append(output.numel() * module.weight[0].numel())

    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 1, size, size))
    for hook in hooks:
        hook.remove()
    return round(sum(counted) / size**2)


def predict(image: str, tile: int | None) -> Answer:
    """Restore an image, whole or in tiles of a width; return the seconds it took."""
    pixels = np.load(image).astype(np.float32)
    tiling = {} if tile is None else {"tile_size": (tile, tile)}
    begun = time.perf_counter()
    _open["restoring"].predict(pixels, axes="YX", data_type="array", batch_size=1, num_workers=0, **tiling)
    return {"seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve({function.__name__: function for function in (versions, open_model, predict)})
