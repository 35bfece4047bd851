"""Restored layers: how they are marked, found again and filled frame by frame."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.partial_stack import NearestFirst, PartialStack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.widgets.layers.conversion import (
    comparable_limits,
    layer_frames,
    new_array,
    placement,
    shown_index,
)
from napari_care_losses.widgets.layers.input_changes import WatchedFrames, data_state, pixels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari.components import Dims, ViewerModel
    from napari.layers import Layer

    from napari_care_losses.models.library import LibraryEntry

KEY = "napari-care-losses"
"""Key of our entry in the metadata of a layer."""

RESTORED, UNCERTAINTY = "restored", "uncertainty"


class Filled(NamedTuple):
    """A step of a restoration into stacks.

    Attributes
    ----------
    done, total : int
        Steps done and total steps.
    frame_index : int, or None
        The frame completed by this step.
    stacks : dict of str to PartialStack
        Restored stack, and its Laplace scale if asked for, by kind.
    limits : dict of str to tuple of float
        Contrast limits of every stack, from the completed frame.
    note : str
        What the user should know of the engine; may be empty.
    sampled : tuple of int, or None
        Before the first tile: frames read so far to find the range, and frames to read.
    """

    done: int
    total: int
    frame_index: int | None
    stacks: dict[str, PartialStack]
    limits: dict[str, tuple[float, float]]
    note: str = ""
    sampled: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """A restoration to start or to continue.

    Attributes
    ----------
    source : Image
        The layer to restore.
    entry : LibraryEntry
        The model.
    frames : WatchedFrames
        The layer's frames; they know those read by the earlier run.
    parameters : RestorationParameters
        How to restore them.
    kinds : list of str
        `RESTORED`, and `UNCERTAINTY` if it is asked for and the model predicts it.
    stacks : dict of str to PartialStack
        The stacks of an earlier run of the same job, by kind; empty for a new job.
    order : NearestFirst
        The frames that are missing; its `shown` may follow the viewer.
    job : dict
        What the pixels depend on.
    """

    source: Image
    entry: LibraryEntry
    frames: WatchedFrames
    parameters: RestorationParameters
    kinds: list[str]
    stacks: dict[str, PartialStack]
    order: NearestFirst
    job: dict[str, Any]


def make_plan(
    viewer: ViewerModel,
    source: Image,
    entry: LibraryEntry,
    parameters: RestorationParameters,
    *,
    with_uncertainty: bool,
) -> Plan:
    """Plan the restoration of a layer; frames done by an earlier run of the same job are kept.

    Raises
    ------
    InputError
        If the layer cannot be restored.
    """
    frames = layer_frames(source)
    predicts_scale = entry.card.architecture.predicts_scale
    kinds = [RESTORED, UNCERTAINTY] if with_uncertainty and predicts_scale else [RESTORED]
    stacks, seen = {}, {}
    for kind in kinds:
        layer = find_result(viewer, source, entry, kind, parameters)
        if layer is not None and isinstance(layer.data, PartialStack):
            stacks[kind] = layer.data
            seen = layer.metadata[KEY]["seen"]
    missing = sorted({index for stack in stacks.values() for index in stack.missing})
    if len(stacks) < len(kinds) or not missing:
        stacks, seen, missing = {}, {}, list(range(len(frames)))
    watched = WatchedFrames(**{one.name: getattr(frames, one.name) for one in fields(frames) if one.init}, seen=seen)
    order = NearestFirst(missing, shown_index(source, viewer.dims))
    return Plan(source, entry, watched, parameters, kinds, stacks, order, _job(source, entry, parameters))


def restore_into_stacks(plan: Plan) -> Iterator[Filled]:
    """Restore the missing frames into the stacks of the plan, or into new ones.

    Raises
    ------
    InputError
        If the input has changed since frames of it were read.
    """
    # imported here, in the background: torch takes seconds
    from napari_care_losses.restoration.restore_stack import restore_frames

    count = len(plan.order)
    for _ in plan.frames.check():
        yield Filled(0, count, None, plan.stacks, {})
    model = load_model(plan.entry.path)
    stacks = plan.stacks or {kind: PartialStack(new_array(plan.frames.shape)) for kind in plan.kinds}
    for done, total, frame, note, sampled in restore_frames(plan.frames, model, plan.parameters, indices=plan.order):
        if frame is None:
            yield Filled(done, total, None, stacks, {}, note, sampled)
            continue
        images = {RESTORED: frame.image, UNCERTAINTY: frame.scale}
        limits = {}
        for kind, stack in stacks.items():
            image = images[kind]
            assert image is not None
            stack.fill(frame.index, image)
            limits[kind] = comparable_limits(image)
        yield Filled(done, total, frame.index, stacks, limits, note)
    # others may take long to read a second time
    if isinstance(plan.frames.data, np.ndarray):
        for _ in plan.frames.check():
            yield Filled(count, count, None, stacks, {}, note)


def is_result(layer: Layer) -> bool:
    """Return whether a layer was restored by this plugin."""
    return KEY in layer.metadata


def find_result(
    viewer: ViewerModel,
    source: Image,
    entry: LibraryEntry,
    kind: str = RESTORED,
    parameters: RestorationParameters | None = None,
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
        `RESTORED` or `UNCERTAINTY`.
    parameters : RestorationParameters, optional
        Return only what was restored with these settings, from the data and with the model as they are now. Without
        them, the topmost layer of any settings.
    """
    if parameters is None:
        return next(iter(_results(viewer, source, entry, kind)), None)
    return _find(viewer, source, entry, kind, _job(source, entry, parameters))


def result_of(viewer: ViewerModel, plan: Plan, kind: str = RESTORED) -> Image | None:
    """Return the layer of a plan, if there is one."""
    return _find(viewer, plan.source, plan.entry, kind, plan.job)


def other_settings(layer: Image, source: Image, entry: LibraryEntry, parameters: RestorationParameters) -> str:
    """Return in words what has changed since a layer was restored; empty if nothing has."""
    return ", ".join(_differences(layer, _job(source, entry, parameters)))


def frames_done(layer: Image | None) -> set[int]:
    """Return the restored frames of a restored layer; none without a layer."""
    if layer is None:
        return set()
    return layer.data.done if isinstance(layer.data, PartialStack) else set(range(math.prod(layer.data.shape[:-2])))


def show_stacks(viewer: ViewerModel, plan: Plan, filled: Filled) -> None:
    """Show stacks as layers on their source; they replace those of an earlier run of the same job, no others."""
    for kind in reversed(filled.stacks):
        stack, limits = filled.stacks[kind], filled.limits[kind]
        layer = result_of(viewer, plan, kind)
        if layer is None:
            layer = Image(
                stack,
                name=_name(viewer, plan, kind),
                rgb=False,
                multiscale=False,
                contrast_limits=limits,
                colormap=plan.source.colormap if kind == RESTORED else "magma",
                **placement(plan.source),
            )
            _mark(layer, plan, kind, stack)
            viewer.add_layer(layer)
        elif layer.data is not stack:
            _mark(layer, plan, kind, stack)
            layer.data = stack
            follow_placement(viewer, plan.source)
        low, high = layer.contrast_limits
        frame = Frames(stack)[filled.frame_index or 0]
        layer.contrast_limits_range = (min(low, float(frame.min())), max(high, float(frame.max())))


def follow_placement(viewer: ViewerModel, source: Image) -> None:
    """Put all that was made of a layer, and has its shape, exactly onto it again."""
    shape = (source.data[0] if source.multiscale else source.data).shape
    for layer in viewer.layers:
        mark = layer.metadata.get(KEY, {})
        is_ours = mark.get("source") == source.unique_id and mark.get("layer", layer.unique_id) == layer.unique_id
        if is_ours and layer.data.shape == shape:
            for name, value in placement(source).items():
                setattr(layer, name, value)


def show_done(viewer: ViewerModel, plan: Plan) -> None:
    """Draw the layers again after a frame was restored."""
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is not None:
            layer.refresh(extent=False)


def hand_over(viewer: ViewerModel, plan: Plan) -> None:
    """Give the layers of a plan that are complete the array itself for data: from here on it is the user's."""
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is not None and isinstance(layer.data, PartialStack) and not layer.data.missing:
            # The pixels are the same: setting `data` would draw the layer again and tell everybody of other data.
            layer._data = layer._data_raw = layer.data.array


def is_current(plan: Plan) -> bool:
    """Return whether the input is still what it was when it was planned, as far as has been noticed."""
    return data_state(plan.source) == plan.job["data"] and not plan.frames.changed


def release(viewer: ViewerModel, plan: Plan) -> None:
    """Leave the layers of a plan to the user: no run goes on with what was made of other data."""
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is not None:
            layer.metadata[KEY]["job"] = {**plan.job, "data": None}


def match_contrast(layers: Iterable[Image], dims: Dims) -> None:
    """Set comparable contrast limits: the same percentiles of the frame shown in every layer.

    Raises
    ------
    InputError
        If a frame cannot be read.
    """
    for layer in layers:
        frame = layer_frames(layer)[shown_index(layer, dims)]
        if np.isfinite(frame).all():
            limits = comparable_limits(frame)
            low, high = layer.contrast_limits_range
            layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
            layer.contrast_limits = limits


def _results(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str) -> list[Image]:
    """Return the layers of a kind that a model restored from a source layer, the topmost first."""
    wanted = {"source": source.unique_id, "model": str(entry.path), "kind": kind}
    # a copy of a layer has its metadata, but is the user's
    found = []
    for layer in reversed(viewer.layers):
        mark = layer.metadata.get(KEY, {})
        if all(mark.get(name) == value for name, value in {**wanted, "layer": layer.unique_id}.items()):
            found.append(layer)
    return found


def _find(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str, job: dict[str, Any]) -> Image | None:
    for layer in _results(viewer, source, entry, kind):
        mark = layer.metadata[KEY]
        # what was restored is not there any more where the user has replaced it
        if mark["job"] == job and mark["pixels"]() is pixels_of(layer.data):
            return layer
    return None


def _mark(layer: Image, plan: Plan, kind: str, stack: PartialStack) -> None:
    """Note in a layer's metadata what it is."""
    layer.metadata[KEY] = {
        "source": plan.source.unique_id,
        "model": str(plan.entry.path),
        "kind": kind,
        "job": plan.job,
        "seen": plan.frames.seen,
        "layer": layer.unique_id,
        "pixels": weakref.ref(stack.array),
    }


def _name(viewer: ViewerModel, plan: Plan, kind: str) -> str:
    """Return a name for a new layer: beside other results of the model, with what differs from the first."""
    others = _results(viewer, plan.source, plan.entry, kind)
    notes = [plan.entry.path.stem, *(_differences(others[-1], plan.job) if others else ())]
    # the kind comes first: napari's list shortens long names in the middle
    return f"{kind} {plan.source.name} ({', '.join(notes)})"


def _differences(layer: Image, job: dict[str, Any]) -> list[str]:
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


def _job(source: Image, entry: LibraryEntry, parameters: RestorationParameters) -> dict[str, Any]:
    """Return what the pixels of a restored layer depend on."""
    try:
        written = entry.path.stat().st_mtime_ns
    except OSError:
        written = 0
    return {"data": data_state(source), "written": written, "parameters": parameters.to_dict()}
