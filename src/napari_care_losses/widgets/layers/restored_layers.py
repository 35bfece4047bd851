"""Restored layers: what they are marked as, found again, and put onto their input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.widgets.layers.conversion import (
    KEY,
    comparable_limits,
    full_shape,
    layer_frames,
    pixels_of,
    placement,
    shown_index,
)
from napari_care_losses.widgets.layers.input_changes import data_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import Dims, ViewerModel
    from napari.layers import Image, Layer

    from napari_care_losses.images.regions import Region
    from napari_care_losses.models.library import LibraryEntry

RESTORED, UNCERTAINTY = "restored", "uncertainty"

ENDS = ("lower", "upper")
"""Of intervals."""


def interval_kinds(level: float) -> tuple[str, str]:
    """Return the kinds of layer that hold the lower and the upper ends of intervals.

    Examples
    --------
    >>> interval_kinds(0.9)
    ('lower 90 %', 'upper 90 %')
    """
    lower, upper = (f"{end} {100 * level:g} %" for end in ENDS)
    return lower, upper


def level_of(kind: str) -> float | None:
    """Return the share of the true grey levels that intervals hold, of a kind of layer with their ends; else None."""
    side, _, percent = kind.partition(" ")
    return float(percent.removesuffix(" %")) / 100 if side in ENDS else None


def is_result(layer: Layer) -> bool:
    """Return whether a layer was restored by this plugin."""
    return KEY in layer.metadata


def find_result(
    viewer: ViewerModel,
    source: Image,
    entry: LibraryEntry,
    kind: str = RESTORED,
    parameters: RestorationParameters | None = None,
    region: Region | None = None,
) -> Image | None:
    """Return the layer that a model restored from a source layer, if there is one.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    source : Image
        The input.
    entry : LibraryEntry
        The model.
    kind : str
        `RESTORED`, `UNCERTAINTY`, or one of `interval_kinds`.
    parameters : RestorationParameters, optional
        Return only what was restored with these settings, from the data and with the model as they are now. Without
        them, the topmost layer of any settings and any region.
    region : Region, optional
        The part of the frames that was restored; by default whole frames.
    """
    if parameters is None:
        return next(iter(results_of(viewer, source, entry, kind)), None)
    return find_made(viewer, source, entry, kind, job_of(source, entry, parameters), region)


def find_made(
    viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str, job: dict[str, Any], region: Region | None
) -> Image | None:
    """Return the layer that holds the result of a job for whole frames or a part of them, if there is one."""
    return next((layer for layer in all_made(viewer, source, entry, kind, job) if region_of(layer) == region), None)


def all_made(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str, job: dict[str, Any]) -> list[Image]:
    """Return the layers that hold results of a job, for whole frames and parts of them, the topmost first."""
    layers = results_of(viewer, source, entry, kind)
    marks = [layer.metadata[KEY] for layer in layers]
    # what was restored is not there any more where the user has replaced it
    return [
        layer
        for layer, mark in zip(layers, marks, strict=True)
        if mark["job"] == job and mark["pixels"]() is pixels_of(layer.data)
    ]


def results_of(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str) -> list[Image]:
    """Return the layers of a kind that a model restored from a source layer, the topmost first."""
    wanted = {"source": source.unique_id, "model": str(entry.path), "kind": kind}
    # a copy of a layer has its metadata, but is the user's
    found = []
    for layer in reversed(viewer.layers):
        mark = layer.metadata.get(KEY, {})
        if all(mark.get(name) == value for name, value in {**wanted, "layer": layer.unique_id}.items()):
            found.append(layer)
    return found


def other_settings(layer: Image, source: Image, entry: LibraryEntry, parameters: RestorationParameters) -> str:
    """Return in words what has changed since a layer was restored; empty if nothing has."""
    return ", ".join(differences(layer, job_of(source, entry, parameters)))


def frames_done(layer: Image | None) -> set[int]:
    """Return the restored frames of a restored layer; none without a layer."""
    if layer is None:
        return set()
    if isinstance(layer.data, PartialStack):
        return layer.data.done
    mark = layer.metadata.get(KEY, {})
    if "done" in mark and mark["pixels"]() is layer.data:
        return set(np.flatnonzero(mark["done"]).tolist())
    return set(range(math.prod(layer.data.shape[:-2])))


def region_of(layer: Layer | None) -> Region | None:
    """Return the part of the frames of its input that a layer shows; None where it shows them whole."""
    region: Region | None = None if layer is None else layer.metadata.get(KEY, {}).get("region")
    return region


def placement_on(source: Image, region: Region | None) -> dict[str, Any]:
    """Return the options that put a layer of a part of the frames onto its place in the source."""
    corner = (0, 0) if region is None else (region.y0, region.x0)
    return placement(source, (*(0,) * (source.ndim - 2), *corner))


def follow_placement(viewer: ViewerModel, source: Image) -> None:
    """Put all that was made of a layer, and has its shape or that of a part of it, exactly onto it again."""
    shape = full_shape(source)
    for layer in viewer.layers:
        mark, region = layer.metadata.get(KEY, {}), region_of(layer)
        is_ours = mark.get("source") == source.unique_id and mark.get("layer", layer.unique_id) == layer.unique_id
        if is_ours and layer.data.shape == (shape if region is None else (*shape[:-2], *region.shape)):
            for name, value in placement_on(source, region).items():
                setattr(layer, name, value)


def match_contrast(layers: Iterable[Image], dims: Dims) -> None:
    """Set comparable contrast limits: the same percentiles of the frame shown in every layer.

    Raises
    ------
    InputError
        If a frame cannot be read.
    """
    for layer in layers:
        frame = layer_frames(layer)[shown_index(layer, dims)]
        if np.isfinite(frame).any():
            limits = comparable_limits(frame)
            low, high = layer.contrast_limits_range
            layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
            layer.contrast_limits = limits


def differences(layer: Image, job: dict[str, Any]) -> list[str]:
    """Return in words what a job has otherwise than the one that made a restored layer."""
    made = layer.metadata[KEY]["job"]
    words = []
    for name, info in RestorationParameters.described().items():
        value = job["parameters"][name]
        if value != made["parameters"][name]:
            said = info.none_means if value == info.none_number else info.words.get(value, value)
            words.append(f"{info.title.lower()} {said}")
    words += ["other data"] if made["data"] != job["data"] else []
    return words + (["model trained again"] if made["written"] != job["written"] else [])


def made_with(layer: Image, source: Image) -> tuple[Path, RestorationParameters] | None:
    """Return model file and settings that restored a layer from its source; None where that cannot be done again.

    So it is where the layer, its source or the model have changed since, or the layer was not restored here.
    """
    mark = layer.metadata.get(KEY, {})
    if (mark.get("kind"), mark.get("source"), mark.get("layer")) != (RESTORED, source.unique_id, layer.unique_id):
        return None
    path, parameters = Path(mark["model"]), RestorationParameters.from_dict(mark["job"]["parameters"])
    is_as_it_was = mark["pixels"]() is pixels_of(layer.data) and mark["job"] == _job(source, path, parameters)
    return (path, parameters) if is_as_it_was else None


def job_of(source: Image, entry: LibraryEntry, parameters: RestorationParameters) -> dict[str, Any]:
    """Return what the pixels of a restored layer depend on."""
    return _job(source, entry.path, parameters)


def _job(source: Image, path: Path, parameters: RestorationParameters) -> dict[str, Any]:
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        written = 0
    return {"data": data_state(source), "written": written, "parameters": parameters.to_dict()}
