"""The plan of a comparison, and its images and scores so far."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.compare import INPUT, Compared, compare
from napari_care_losses.widgets.layers.conversion import comparable_limits, new_array, placement
from napari_care_losses.widgets.layers.restored_layers import KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari.components import Dims, ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.parameters import RestorationParameters

TRUTH = "truth"
"""Name of the ground truth's panel; that of the input is `INPUT`."""

DISAGREEMENT = "disagreement"
"""Name of the array that tells how far the models disagree."""

TITLES = {INPUT: "Input", TRUTH: "Ground truth"}

Scores = dict[str, dict[int, dict[str, float]]]
"""By method (or `INPUT`), frame and metric."""


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is compared, and how; the ground truth is optional."""

    source: Image
    truth_layer: Image | None
    frames: Frames
    truth: Frames | None
    methods: tuple[Method, ...]
    parameters: RestorationParameters
    """How models restore."""

    indices: tuple[int, ...]
    """The frames to compare, in order."""

    aligned: bool
    """Whether brightness is aligned before scoring."""

    independent: bool
    """Whether the frames show different fields of view."""

    reference: str
    """The method (or `INPUT`) the others are tested against."""

    @property
    def names(self) -> list[str]:
        """Names of the panels in order: input, methods, and the ground truth if there is one."""
        methods = [method.name for method in self.methods]
        return [INPUT, *methods, *([] if self.truth is None else [TRUTH])]


class ComparisonResults:
    """Images and scores of a comparison, filled frame by frame.

    The worker thread writes the images; the main thread reads an image only after recording it.
    """

    def __init__(self, plan: ComparisonPlan) -> None:
        self.plan = plan
        self.scores: Scores = {}
        self.notes: dict[str, str] = {}
        # a single frame needs no stack of all
        self._is_whole = len(plan.indices) == len(plan.frames)
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._done: dict[str, set[int]] = {name: set() for name in plan.names}

    def run(self) -> Generator[Compared, None, None]:
        """Compare and keep the images, in the background; yields the steps without images."""
        plan = self.plan
        options = {"parameters": plan.parameters, "indices": plan.indices, "aligned": plan.aligned}
        with closing(compare(plan.frames, plan.methods, truth=plan.truth, **options)) as steps:
            for step in steps:
                if step.image is not None and step.frame_index is not None and step.method != INPUT:
                    self.keep(step.method, step.frame_index, step.image)
                yield step._replace(image=None)

    def record(self, step: Compared) -> None:
        """Record that the frame of a step is complete."""
        if step.frame_index is None:
            return
        self._done[step.method].add(step.frame_index)
        if step.scores:
            self.scores.setdefault(step.method, {})[step.frame_index] = step.scores
        if step.note:
            self.notes[step.method] = step.note

    def is_done(self, name: str, index: int) -> bool:
        """Return whether the image of a panel is available."""
        return name in (INPUT, TRUTH) or index in self._done[name]

    def frames_done(self) -> list[int]:
        """Return the frames that every method has restored."""
        return sorted(set.intersection(*(self._done[method.name] for method in self.plan.methods)))

    def image(self, name: str, index: int) -> NDArray[np.generic]:
        """Return the image of a panel, which must be available (`is_done`).

        Raises
        ------
        InputError
            If input or truth cannot be read.
        """
        if name == INPUT:
            return self.plan.frames[index]
        if name == TRUTH:
            return self.plan.truth[index]
        return self._arrays[name][self._position(index)]

    def frame_scores(self, index: int) -> dict[str, dict[str, float]]:
        """Return the scores of a frame so far, by method."""
        return {name: rows[index] for name, rows in self.scores.items() if index in rows}

    def copied_scores(self) -> Scores:
        """Return a copy of the scores, in the order of the panels."""
        return {name: dict(self.scores[name]) for name in self.plan.names if name in self.scores}

    def add_layers(self, viewer: ViewerModel) -> None:
        """Add the restored stacks to the viewer, exactly on the input."""
        source = self.plan.source
        for method in self.plan.methods:
            array = self._arrays.get(method.name)
            if array is None:
                continue
            place = self._place(array)
            shown = next(iter(self._done[method.name]))
            viewer.add_image(
                array,
                name=f"restored {source.name} ({method.name})",
                contrast_limits=comparable_limits(self._arrays[method.name][self._position(shown)]),
                colormap=source.colormap,
                rgb=False,
                metadata={KEY: {"source": source.unique_id, "kind": "compared"}},
                **placement(source, place),
            )

    def disagreements(self) -> Iterator[None]:
        """Compute how far the models disagree in every frame restored by all of them, or one model given it flipped."""
        # imported here, in the background: opening the widget need not wait for it
        from napari_care_losses.comparison.disagreement import disagreement, flip_disagreement
        from napari_care_losses.models.model import load_model

        plan, indices = self.plan, self.frames_done()
        models = [method for method in plan.methods if method.model is not None]
        if len(models) > 1:
            for index in indices:
                images = [self.image(method.name, index) for method in models]
                self.keep(DISAGREEMENT, index, disagreement(plan.frames[index], images))
                yield
            return
        parameters = models[0].parameters or plan.parameters
        for step in flip_disagreement(plan.frames, load_model(models[0].model), parameters, indices=indices):
            if step is not None:
                self.keep(DISAGREEMENT, *step)
            yield

    def add_disagreement(self, viewer: ViewerModel) -> None:
        """Add what `disagreements` computed to the viewer, exactly on the input; frames not compared are 0."""
        array, source = self._arrays[DISAGREEMENT], self.plan.source
        models = [method.name for method in self.plan.methods if method.model is not None]
        what = f"of {len(models)} models" if len(models) > 1 else f"of flips, {models[0]}"
        place = self._place(array)
        shown = array[self._position(self.frames_done()[0])]
        viewer.add_image(
            array,
            name=f"disagreement {source.name} ({what})",
            contrast_limits=(0, max(float(np.percentile(shown, 99.8)), np.finfo(np.float32).tiny)),
            colormap="magma",
            rgb=False,
            metadata={KEY: {"source": source.unique_id, "kind": DISAGREEMENT}},
            **placement(source, place),
        )

    def _place(self, array: NDArray[np.float32]) -> tuple[int, ...]:
        """Return where the first pixel of an array lies in the input."""
        is_one = array.shape != self.plan.frames.shape
        return (*self.plan.frames.position(self.plan.indices[0]), 0, 0) if is_one else ()

    def keep(self, name: str, index: int, image: NDArray[np.float32]) -> None:
        """Keep a restored frame."""
        if name not in self._arrays:
            frames = self.plan.frames
            leading = frames.leading_shape if self._is_whole else (1,) * len(frames.leading_shape)
            self._arrays[name] = new_array((*leading, *frames.frame_shape))
        self._arrays[name][self._position(index)] = image

    def _position(self, index: int) -> tuple[int, ...]:
        frames = self.plan.frames
        return frames.position(index) if self._is_whole else (0,) * len(frames.leading_shape)


def show_frame(dims: Dims, layer: Image, place: tuple[int, ...]) -> None:
    """Move the viewer's sliders to a frame of a layer, given by its index in the leading axes."""
    world = layer.data_to_world((*place, 0, 0))
    first = dims.ndim - layer.ndim
    for axis in range(len(place)):
        dims.set_point(first + axis, world[axis])
