"""Restore low-exposure fluorescence images in napari, with CARE networks trained on losses that keep the detail.

The names below are loaded when they are first asked for: importing the package costs neither torch nor Qt.

Examples
--------
>>> import numpy as np
>>> import napari_care_losses as ncl
>>> noisy = np.random.default_rng(0).poisson(20, (2, 64, 64))
>>> model = ncl.load_model(ncl.find_model("fft-lite"))
>>> ncl.restore(noisy, model, axes="TYX").shape
(2, 64, 64)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from napari_care_losses.compute.openmp import wait_asleep
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from napari_care_losses.comparison.compare import compare
    from napari_care_losses.evaluation.metrics import METRICS
    from napari_care_losses.io.stacks import read_stack, save_stack
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.models.library import find_model, list_models
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.restore_stack import restore
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.trainer import Trainer

_HOMES = {
    "LOSSES": "losses.registry",
    "METRICS": "evaluation.metrics",
    "Pair": "training.pairs",
    "Trainer": "training.trainer",
    "TrainingParameters": "training.parameters",
    "compare": "comparison.compare",
    "find_model": "models.library",
    "list_models": "models.library",
    "load_model": "models.model",
    "read_stack": "io.stacks",
    "restore": "restoration.restore_stack",
    "save_stack": "io.stacks",
}

__all__ = [
    "LOSSES",
    "METRICS",
    "Pair",
    "Trainer",
    "TrainingParameters",
    "__version__",
    "compare",
    "find_model",
    "list_models",
    "load_model",
    "read_stack",
    "restore",
    "save_stack",
]

# whatever loads torch here comes after it
wait_asleep()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
