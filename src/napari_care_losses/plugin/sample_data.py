"""Simulated pairs for napari's File > Open Sample, the same every time.

Their random seeds are below 1000: the bundled models were trained with others (see `simulation.pairs_and_movies`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.pairs_and_movies import (
    STRUCTURES,
    ImagingConditions,
    simulate_movie,
    simulate_pairs,
)
from napari_care_losses.simulation.z_stacks import simulate_z_stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

LayerData = tuple[Any, dict[str, Any], str]

_FIELDS = 9
_TIME_POINTS = 30
_PLANES = 15
_SEEDS = {"actin": 101, "mitochondria": 202, "dendra": 303, "z_stack": 404}


def actin_sample() -> list[LayerData]:
    """Return nine fields of actin at 1 ms, and their ground truth at 100 ms.

    Returns
    -------
    list of tuple
        Layer data (image of uint16, shape (9, 512, 512); options; "image"): the hidden ground truth, then the input.
    """
    return _fields("actin")


def mitochondria_sample() -> list[LayerData]:
    """Return nine fields of mitochondria at 1 ms, and their ground truth at 100 ms; layers as in `actin_sample`."""
    return _fields("mitochondria")


def dendra_sample() -> list[LayerData]:
    """Return a time-lapse of moving cells at 10 ms, and its ground truth at 400 ms.

    Returns
    -------
    list of tuple
        Layer data (image of uint16, shape (30, 384, 384); options; "image"): the hidden ground truth, then the input.
    """
    low, high = simulate_movie("dendra", _TIME_POINTS, (384, 384), seed=_SEEDS["dendra"], bleaching=0.2)
    return _layers("dendra", low, high, first_step=STRUCTURES["dendra"].interval_s, first_unit="s", first_axis="t")


def z_stack_sample() -> list[LayerData]:
    """Return a z-stack of mitochondria at 1 ms, and its ground truth at 100 ms.

    Returns
    -------
    list of tuple
        Layer data (image of uint16, shape (15, 384, 384); options; "image"): the hidden ground truth, then the input.
    """
    conditions = ImagingConditions()
    low, high = simulate_z_stack("mitochondria", _PLANES, (384, 384), conditions, seed=_SEEDS["z_stack"])
    return _layers("mitochondria", low, high, first_step=conditions.z_step, first_unit="um", first_axis="z")


def _fields(name: str) -> list[LayerData]:
    low, high = simulate_pairs(name, _FIELDS, seed=_SEEDS[name])
    return _layers(name, low, high, first_step=1.0, first_unit="pixel", first_axis="field")


def _layers(
    name: str, low: NDArray[np.uint16], high: NDArray[np.uint16], *, first_step: float, first_unit: str, first_axis: str
) -> list[LayerData]:
    pixel_size = Microscope().pixel_size
    structure = STRUCTURES[name]

    def layer(data: NDArray[np.uint16], exposure_ms: float, visible: bool) -> LayerData:
        darkest, brightest = np.percentile(data, [1, 99.8])
        options = {
            "name": f"{name} {exposure_ms:g} ms",
            "scale": (first_step, pixel_size, pixel_size),
            "units": (first_unit, "um", "um"),
            "axis_labels": (first_axis, "y", "x"),
            "contrast_limits": (float(darkest), float(brightest)),
            "colormap": "gray",
            "visible": visible,
        }
        return data, options, "image"

    return [layer(high, structure.high_ms, visible=False), layer(low, structure.low_ms, visible=True)]
