"""Restored layers: how they are marked, found again and filled frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.partial_stack import NearestFirst, PartialStack
from napari_care_losses.models.model import load_model
from napari_care_losses.widgets.layers.conversion import (
    comparable_limits,
    layer_frames,
    new_array,
    placement,
    shown_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari.components import Dims, ViewerModel
    from napari.layers import Layer

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters

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
    frames : Frames
        The layer's frames.
    parameters : RestorationParameters
        How to restore them.
    kinds : list of str
        `RESTORED`, and `UNCERTAINTY` if it is asked for and the model predicts it.
    stacks : dict of str to PartialStack
        The stacks of an earlier run of the same job, by kind; empty for a new job.
    order : NearestFirst
        The frames that are missing; its `shown` may follow the viewer.
    """

    source: Image
    entry: LibraryEntry
    frames: Frames
    parameters: RestorationParameters
    kinds: list[str]
    stacks: dict[str, PartialStack]
    order: NearestFirst

    def mark(self, kind: str) -> dict[str, Any]:
        """Return our metadata of a restored layer: its source, model, kind and job."""
        return {**_whose(self.source, self.entry, kind), "job": _job(self.source, self.entry, self.parameters)}


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
    job = _job(source, entry, parameters)
    stacks = {}
    for kind in kinds:
        layer = find_result(viewer, source, entry, kind)
        if layer is not None and layer.metadata[KEY]["job"] == job and isinstance(layer.data, PartialStack):
            stacks[kind] = layer.data
    missing = sorted({index for stack in stacks.values() for index in stack.missing})
    if len(stacks) < len(kinds) or not missing:
        stacks, missing = {}, list(range(len(frames)))
    order = NearestFirst(missing, shown_index(source, viewer.dims))
    return Plan(source, entry, frames, parameters, kinds, stacks, order)


def restore_into_stacks(plan: Plan) -> Iterator[Filled]:
    """Restore the missing frames into the stacks of the plan, or into new ones."""
    # imported here, in the background: torch takes seconds
    from napari_care_losses.restoration.restore_stack import restore_frames

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


def is_result(layer: Layer) -> bool:
    """Return whether a layer was restored by this plugin."""
    return KEY in layer.metadata


def find_result(viewer: ViewerModel, source: Image, entry: LibraryEntry, kind: str = RESTORED) -> Image | None:
    """Return the layer that a model restored from a source layer, if there is one."""
    wanted = _whose(source, entry, kind)
    for layer in viewer.layers:
        mark = layer.metadata.get(KEY, {})
        if isinstance(layer, Image) and all(mark.get(name) == value for name, value in wanted.items()):
            return layer
    return None


def frames_done(layer: Image | None) -> set[int]:
    """Return the restored frames of a restored layer; none without a layer."""
    return layer.data.done if layer is not None and isinstance(layer.data, PartialStack) else set()


def show_stacks(viewer: ViewerModel, plan: Plan, filled: Filled) -> None:
    """Show stacks as layers on their source; they replace those of an earlier run of the same model."""
    for kind in reversed(filled.stacks):
        stack, limits = filled.stacks[kind], filled.limits[kind]
        layer = find_result(viewer, plan.source, plan.entry, kind)
        if layer is None:
            layer = viewer.add_image(
                stack,
                # the kind comes first: napari's list shortens long names in the middle
                name=f"{kind} {plan.source.name} ({plan.entry.path.stem})",
                contrast_limits=limits,
                colormap=plan.source.colormap if kind == RESTORED else "magma",
                metadata={KEY: plan.mark(kind)},
                **placement(plan.source),
            )
        elif layer.data is not stack:
            layer.metadata[KEY] = plan.mark(kind)
            layer.data = stack
        low, high = layer.contrast_limits
        frame = Frames(stack)[filled.frame_index or 0]
        layer.contrast_limits_range = (min(low, float(frame.min())), max(high, float(frame.max())))


def show_done(viewer: ViewerModel, plan: Plan) -> None:
    """Draw the layers again after a frame was restored."""
    for kind in plan.kinds:
        layer = find_result(viewer, plan.source, plan.entry, kind)
        if layer is not None:
            layer.refresh(extent=False)


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


def _whose(source: Image, entry: LibraryEntry, kind: str) -> dict[str, Any]:
    return {"source": source.unique_id, "model": str(entry.path), "kind": kind}


def _job(source: Image, entry: LibraryEntry, parameters: RestorationParameters) -> dict[str, Any]:
    """Return what the pixels of a restored layer depend on."""
    try:
        written = entry.path.stat().st_mtime_ns
    except OSError:
        written = 0
    return {"data": id(source.data), "written": written, "parameters": parameters.to_dict()}
