"""Restored layers filled frame by frame."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.partial_stack import NearestFirst, PartialStack
from napari_care_losses.images.selection import EVERYTHING, Selection
from napari_care_losses.models.model import load_model
from napari_care_losses.widgets.layers.conversion import (
    KEY,
    PROVENANCE,
    comparable_limits,
    layer_frames,
    new_array,
    pixels_of,
    reserve,
    shown_index,
)
from napari_care_losses.widgets.layers.input_changes import WatchedFrames, data_state
from napari_care_losses.widgets.layers.layer_records import restoration_record
from napari_care_losses.widgets.layers.new_data import set_data
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    UNCERTAINTY,
    differences,
    find_made,
    follow_placement,
    interval_kinds,
    job_of,
    level_of,
    placement_on,
    results_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.record import RestorationRecord
    from napari_care_losses.restoration.restore_frame import RestoredFrame


class Filled(NamedTuple):
    """A step of a restoration into stacks.

    Attributes
    ----------
    done, total : int
        Steps done and total steps.
    frame_index : int, or None
        The frame completed by this step.
    stacks : dict of str to PartialStack
        Restored stack, and those beside it, by kind.
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
        `RESTORED`, and what is asked for beside it that the model can give.
    stacks : dict of str to PartialStack
        The stacks of an earlier run of the same job, by kind; empty for a new job.
    order : NearestFirst
        The frames to restore, those that are missing; its `shown` may follow the viewer.
    job : dict
        What the pixels depend on.
    selection : Selection
        What is asked for.
    is_again : bool
        Whether all that is asked for is restored already, and is restored again.
    provenance : dict of str to str
        How the layer is made, as `napari_care_losses.provenance.Record.texts` gives it; empty before the work begins.
    """

    source: Image
    entry: LibraryEntry
    frames: WatchedFrames
    parameters: RestorationParameters
    kinds: list[str]
    stacks: dict[str, PartialStack]
    order: NearestFirst
    job: dict[str, Any]
    selection: Selection = EVERYTHING
    is_again: bool = False
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Collection[int]:
        """The frames that are asked for, those restored already among them."""
        return _wanted(self.frames, self.selection)


def make_plan(
    viewer: ViewerModel,
    source: Image,
    entry: LibraryEntry,
    parameters: RestorationParameters,
    selection: Selection = EVERYTHING,
    *,
    beside: Sequence[str] = (),
) -> Plan:
    """Plan the restoration of a layer; frames done by an earlier run of the same job are kept.

    Where all that is asked for is done, it is done again. Kinds of layers `beside` the restored one that the model
    cannot give are left out.

    Raises
    ------
    InputError
        If the layer cannot be restored.
    """
    frames, job = layer_frames(source), job_of(source, entry, parameters)
    kinds = [RESTORED, *(kind for kind in beside if can_give(entry, kind))]
    stacks, seen = {}, {}
    for kind in kinds:
        layer = find_made(viewer, source, entry, kind, job, selection.region)
        if layer is not None:
            mark = layer.metadata[KEY]
            is_partial = isinstance(layer.data, PartialStack)
            stacks[kind] = layer.data if is_partial else PartialStack(layer.data, mark["done"])
            seen = mark["seen"]
    wanted = _wanted(frames, selection)
    missing = set(wanted).difference(set.intersection(*(stacks[one].done if one in stacks else set() for one in kinds)))
    if not missing and selection.frames is None:
        stacks, seen = {}, {}
    watched = WatchedFrames(**{one.name: getattr(frames, one.name) for one in fields(frames) if one.init}, seen=seen)
    order = NearestFirst(missing or wanted, shown_index(source, viewer.dims))
    return Plan(source, entry, watched, parameters, kinds, stacks, order, job, selection, is_again=not missing)


def can_give(entry: LibraryEntry, kind: str) -> bool:
    """Return whether a model can give a kind of layer beside the restored one."""
    if kind == UNCERTAINTY:
        return entry.card.architecture.predicts_scale
    return entry.card.intervals is not None and level_of(kind) in entry.card.intervals.levels


def _wanted(frames: Frames, selection: Selection) -> Collection[int]:
    return range(len(frames)) if selection.frames is None else selection.frames


def restore_into_stacks(plan: Plan) -> Iterator[Filled]:
    """Restore the missing frames into the stacks of the plan, or into new ones.

    Raises
    ------
    InputError
        If the input has changed since frames of it were read.
    """
    # imported here, in the background: opening the widget need not wait for it
    from napari_care_losses.restoration.restore_stack import restore_frames

    count = len(plan.order)
    for _ in plan.frames.check():
        yield Filled(0, count, None, plan.stacks, {})
    model = load_model(plan.entry.path)
    plan.provenance.update(_record(plan).texts())
    stacks = {kind: _stack_for(plan, kind) for kind in plan.kinds}
    steps = restore_frames(plan.frames, model, plan.parameters, indices=plan.order, region=plan.selection.region)
    for done, total, frame, note, sampled in steps:
        if frame is None:
            yield Filled(done, total, None, stacks, {}, note, sampled)
            continue
        shown = comparable_limits(frame.image)
        limits = {}
        for kind, stack in stacks.items():
            image = _image_of(frame, kind, model.card)
            stack.fill(frame.index, image)
            # restored grey levels and the ends of their intervals look alike
            limits[kind] = comparable_limits(image) if kind == UNCERTAINTY else shown
        yield Filled(done, total, frame.index, stacks, limits, note)
    # others may take long to read a second time
    if isinstance(plan.frames.data, np.ndarray):
        for _ in plan.frames.check():
            yield Filled(count, count, None, stacks, {}, note)


def _record(plan: Plan) -> RestorationRecord:
    """Return what makes the layer of a plan, with the frames that earlier runs have restored."""
    done = set.intersection(*(plan.stacks[kind].done if kind in plan.stacks else set() for kind in plan.kinds))
    frames = done.union(plan.wanted)
    chosen = None if len(frames) == len(plan.frames) else tuple(sorted(frames))
    selection = Selection(chosen, plan.selection.region)
    return restoration_record(plan.source, plan.entry.path, plan.parameters, selection, plan.kinds)


def _image_of(frame: RestoredFrame, kind: str, card: ModelCard) -> NDArray[np.float32]:
    level = level_of(kind)
    if level is not None:
        return frame.bounds(card, level)[interval_kinds(level).index(kind)]
    image = frame.scale if kind == UNCERTAINTY else frame.image
    assert image is not None
    return image


def _stack_for(plan: Plan, kind: str) -> PartialStack:
    """Return the stack to fill, that of an earlier run or a new one, with room for the frames to come."""
    stack = plan.stacks.get(kind)
    if stack is not None:
        reserve(stack.array, set(plan.order).difference(stack.done))
        return stack
    region = plan.selection.region
    shape = plan.frames.shape if region is None else (*plan.frames.leading_shape, *region.shape)
    array = new_array(shape, plan.selection.frames)
    # A file would be written as a whole for that.
    if not isinstance(array, np.memmap):
        array.fill(np.nan)
    return PartialStack(array)


def result_of(viewer: ViewerModel, plan: Plan, kind: str = RESTORED) -> Image | None:
    """Return the layer of a plan, if there is one."""
    return find_made(viewer, plan.source, plan.entry, kind, plan.job, plan.selection.region)


def show_stacks(viewer: ViewerModel, plan: Plan, filled: Filled) -> None:
    """Show stacks as layers on their source; they replace those of an earlier run of the same job, no others."""
    for kind in reversed(filled.stacks):
        stack, limits = filled.stacks[kind], filled.limits[kind]
        layer = result_of(viewer, plan, kind)
        if layer is None:
            others = results_of(viewer, plan.source, plan.entry, kind)
            layer = Image(
                stack,
                name=_name(plan, kind, others),
                rgb=False,
                multiscale=False,
                # the edge of a part shows less where the whole has the same contrast
                contrast_limits=others[0].contrast_limits if others and plan.selection.region is not None else limits,
                colormap="magma" if kind == UNCERTAINTY else plan.source.colormap,
                **placement_on(plan.source, plan.selection.region),
            )
            _mark(layer, plan, kind, filled)
            viewer.add_layer(layer)
        elif pixels_of(layer.data) is not stack.array:
            _mark(layer, plan, kind, filled)
            set_data(layer, stack)
            follow_placement(viewer, plan.source)
        else:
            layer.metadata[KEY][PROVENANCE] = plan.provenance
        low, high = layer.contrast_limits
        frame = Frames(stack)[filled.frame_index or 0]
        layer.contrast_limits_range = (min(low, float(frame.min())), max(high, float(frame.max())))


def show_done(viewer: ViewerModel, plan: Plan) -> None:
    """Draw the layers again after a frame was restored."""
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is not None:
            layer.refresh(extent=False)


def hand_over(viewer: ViewerModel, plan: Plan, *, is_finished: bool) -> None:
    """Give the layers of a plan the array itself for data: from here on it is the user's.

    That is done where the array holds what the layer shows: all frames, or at the end of a run all that were asked for
    and NaN. A large result with missing frames lies in a file that is not written there, and stays a stack.
    """
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is None or not isinstance(layer.data, PartialStack):
            continue
        array = layer.data.array
        if not layer.data.missing or (is_finished and not isinstance(array, np.memmap)):
            # The pixels are the same: setting `data` would draw the layer again and tell everybody of other data.
            layer._data = layer._data_raw = array


def is_current(plan: Plan) -> bool:
    """Return whether the input is still what it was when it was planned, as far as has been noticed."""
    return data_state(plan.source) == plan.job["data"] and not plan.frames.changed


def release(viewer: ViewerModel, plan: Plan) -> None:
    """Leave the layers of a plan to the user: no run goes on with what was made of other data."""
    for kind in plan.kinds:
        layer = result_of(viewer, plan, kind)
        if layer is not None:
            layer.metadata[KEY]["job"] = {**plan.job, "data": None}


def _mark(layer: Image, plan: Plan, kind: str, filled: Filled) -> None:
    """Note in a layer's metadata what it is."""
    stack = filled.stacks[kind]
    layer.metadata[KEY] = {
        "source": plan.source.unique_id,
        "model": str(plan.entry.path),
        "kind": kind,
        "job": plan.job,
        "note": filled.note,
        "region": plan.selection.region,
        "seen": plan.frames.seen,
        "layer": layer.unique_id,
        "pixels": weakref.ref(stack.array),
        "done": stack.is_done,
        PROVENANCE: plan.provenance,
    }


def _name(plan: Plan, kind: str, others: Sequence[Image]) -> str:
    """Return a name for a new layer: beside other results of the model, with what differs from the first."""
    region = plan.selection.region
    notes = [plan.entry.path.stem, *(differences(others[-1], plan.job) if others else ())]
    notes += [] if region is None else [f"y {region.y0}:{region.y1}", f"x {region.x0}:{region.x1}"]
    # the kind comes first: napari's list shortens long names in the middle
    return f"{kind} {plan.source.name} ({', '.join(notes)})"
