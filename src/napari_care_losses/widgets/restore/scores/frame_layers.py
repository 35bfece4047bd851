"""Layers computed from each frame and its restoration, and the switches that show them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import scale_truth
from napari_care_losses.evaluation.squared_error import error_map
from napari_care_losses.evaluation.without_truth.contradictions import RATE, find_contradictions
from napari_care_losses.evaluation.without_truth.residual import residual
from napari_care_losses.images.axes import truth_of
from napari_care_losses.images.selection import part_of
from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.layers.conversion import layer_frames, pixels_of
from napari_care_losses.widgets.layers.new_data import set_data
from napari_care_losses.widgets.layers.restored_layers import KEY, placement_on, region_of
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

COLORMAP, ERRORS = "PiYG", "inferno"
"""Diverging: white where nothing changed; and for what is 0 or more."""

LIMIT_PERCENTILE = 99.8

LARGEST_DEVIATION = 10.0
"""Contrast limit, above and below zero, of places that contradict: in standard deviations of the noise."""


@dataclass(frozen=True)
class FrameLayer:
    """What such a layer shows."""

    kind: str
    """In its metadata and name."""
    title: str
    help: str
    """Of its switch."""
    compute: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]]
    """From a frame of the input, or the truth, and its restoration (Y, X) to that of the layer."""
    limit: Callable[[Frames, Frames, int], float]
    """From both stacks and the number of a frame to the contrast limit, above zero and, where it has a sign, below."""
    needs_truth: bool = False
    """Whether the restoration is compared with the truth."""
    has_sign: bool = True


@dataclass
class _Shown:
    """What a layer is made of; its data read `done`, which grows."""

    pixels: tuple[Any, Any]
    done: set[int]


class FrameLayerBox(QCheckBox):
    """Checked while a layer made of each frame and its restoration is visible."""

    def __init__(self, viewer: ViewerModel, made: FrameLayer) -> None:
        super().__init__(made.title)
        self.setToolTip(tooltip(made.help))
        self._viewer = viewer
        self._made = made
        self._source: Image | None = None
        self._restored: Image | None = None
        self._truth: Image | None = None
        self._index = 0
        self._done: set[int] = set()
        self._shown: WeakKeyDictionary[Image, _Shown] = WeakKeyDictionary()
        self._job = Job(parent=self)
        self._job.reported.connect(lambda found: self._add(*found))
        self._job.finished.connect(lambda _: self._sync())
        self.clicked.connect(self._on_clicked)
        viewer.layers.events.removed.connect(self._sync)
        self._sync()

    @property
    def is_running(self) -> bool:
        """Whether a layer is being made."""
        return self._job.is_running

    def show_frame(
        self,
        source: Image | None,
        restored: Image | None,
        index: int,
        done: Collection[int],
        truth: Image | None = None,
    ) -> None:
        """Take the layers, the shown frame, and the frames that are restored."""
        self._source, self._restored, self._truth = source, restored, truth
        self._index, self._done = index, set(done)
        self._fill()

    def frame_done(self, index: int) -> None:
        """Note that a frame has been restored, also again."""
        self._done.add(index)
        self._fill(renewed=index)

    def stop(self) -> None:
        """Stop making the layer."""
        self._job.stop()

    def _layer(self) -> Image | None:
        if self._source is None or self._restored is None or (self._made.needs_truth and self._truth is None):
            return None
        wanted = self._mark(self._source, self._restored)
        images = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        return next((layer for layer in images if layer.metadata.get(KEY) == wanted), None)

    def _fill(self, *, renewed: int | None = None) -> None:
        """Show the stacks as they are now, if there is a layer of them."""
        layer = self._layer()
        if layer is None or self._source is None or self._restored is None:
            self._sync()
            return
        shown, pixels = self._shown.get(layer), self._pixels()
        if shown is None or any(one is not other for one, other in zip(shown.pixels, pixels, strict=True)):
            shown = _Shown(pixels, set(self._done))
            set_data(layer, self._stack(*self._compared(), shown.done))
            self._keep(layer, shown)
        else:
            was_there = self._index in shown.done
            shown.done.intersection_update(self._done)
            shown.done.update(self._done)
            if layer.visible and (renewed == self._index or was_there != (self._index in shown.done)):
                layer.refresh(extent=False)
        self._sync()

    def _keep(self, layer: Image, shown: _Shown) -> None:
        self._shown[layer] = shown
        layer.events.visible.connect(self._sync)

    def _on_clicked(self, is_checked: bool) -> None:
        layer, source, restored = self._layer(), self._source, self._restored
        if layer is not None:
            layer.visible = is_checked
        elif is_checked and source is not None and restored is not None and self._done and not self._job.is_running:
            nearest = min(self._done, key=lambda index: abs(index - self._index))
            compared, made_of = self._compared(), (source, restored, self._truth)
            self._job.start(lambda: iter([(made_of, self._made.limit(*compared, nearest))]))

    def _compared(self) -> tuple[Frames, Frames]:
        """Return what the restoration is compared with, and the restoration."""
        assert self._source is not None
        assert self._restored is not None
        frames = layer_frames(self._source)
        if self._made.needs_truth and self._truth is not None:
            frames = truth_of(layer_frames(self._truth), frames)
        region = region_of(self._restored)
        return frames if region is None else part_of(frames, region), layer_frames(self._restored)

    def _pixels(self) -> tuple[Any, Any]:
        """Return the arrays that the layer is computed from."""
        compared = self._truth if self._made.needs_truth else self._source
        one, other = (
            None if layer is None else pixels_of(layer_frames(layer).data) for layer in (compared, self._restored)
        )
        return one, other

    def _add(self, made_of: tuple[Image, Image, Image | None], limit: float) -> None:
        # any may have been removed meanwhile
        source, restored, _ = made_of
        if made_of != (self._source, self._restored, self._truth) or source not in self._viewer.layers:
            return
        shown, mark = _Shown(self._pixels(), set(self._done)), self._mark(source, restored)
        layer = self._viewer.add_image(
            self._stack(*self._compared(), shown.done),
            name=f"{self._made.kind} {source.name} ({Path(mark['model']).stem or restored.name})",
            contrast_limits=(-limit if self._made.has_sign else 0, limit),
            colormap=COLORMAP if self._made.has_sign else ERRORS,
            metadata={KEY: mark},
            # napari would keep frames computed before they were restored
            cache=False,
            rgb=False,
            multiscale=False,
            **placement_on(source, region_of(restored)),
        )
        self._keep(layer, shown)

    def _sync(self, _event: object = None) -> None:
        layer = self._layer()
        is_possible = self._source is not None and self._restored is not None and bool(self._done)
        self.setVisible(is_possible and (self._truth is not None or not self._made.needs_truth))
        with QSignalBlocker(self):
            self.setChecked(self._job.is_running or (layer is not None and layer.visible))

    def _mark(self, source: Image, restored: Image) -> dict[str, Any]:
        model = restored.metadata.get(KEY, {}).get("model", "")
        mark = {"source": source.unique_id, "model": model, "restored": restored.unique_id, "kind": self._made.kind}
        if self._made.needs_truth and self._truth is not None:
            mark["truth"] = self._truth.unique_id
        return {**mark, "region": region_of(restored)}

    def _stack(self, source: Frames, restored: Frames, done: Collection[int]) -> Any:
        """Return the layer's data as a lazy dask array of float32, one chunk a frame.

        Frames that are not in `done`, which may grow, are NaN, which napari draws as transparent; so are those that
        cannot be compared: the scores say why.
        """
        import dask.array

        leading, frame_shape = source.leading_shape, source.frame_shape

        def compute(block_id: tuple[int, ...]) -> NDArray[np.float32]:
            index = int(np.ravel_multi_index(block_id[:-2], leading)) if leading else 0
            frame = np.full(frame_shape, np.nan, np.float32)
            if index in done:
                with suppress(InputError):
                    frame = self._made.compute(source[index], restored[index])
            return frame.reshape((1,) * len(leading) + frame_shape)

        return dask.array.map_blocks(
            compute,
            chunks=(*((1,) * size for size in leading), *((size,) for size in frame_shape)),
            dtype=np.float32,
            meta=np.empty((0,) * len(source.shape), np.float32),
            # dask would hash all pixels of both stacks for a name
            name=f"{self._made.kind}-{uuid4().hex}",
        )


def residual_limit(source: Frames, restored: Frames, index: int) -> float:
    """Return the contrast limit, above and below zero, that shows the residual of a frame."""
    limit = float(np.percentile(np.abs(residual(source[index], restored[index])), LIMIT_PERCENTILE))
    return limit if limit > 0 else 1.0


def scaled_errors(truth: NDArray[Any], restored: NDArray[Any]) -> NDArray[np.float32]:
    """Return the error map (Y, X) as a share of the truth's range; its root mean square is the RSE."""
    return error_map(restored, scale_truth(truth).image).astype(np.float32)


def error_limit(truth: Frames, restored: Frames, index: int) -> float:
    """Return the contrast limit that shows the error map of a frame."""
    limit = float(np.percentile(scaled_errors(truth[index], restored[index]), LIMIT_PERCENTILE))
    return limit if limit > 0 else 1.0


RESIDUAL = FrameLayer(
    kind="residual",
    title="Show the residual (input minus restored)",
    help="A layer with what the restoration removed. It should be noise alone: structure in it is lost signal. Green "
    "is brighter in the input, pink is brighter in the restored image.",
    compute=residual,
    limit=residual_limit,
)

CONTRADICTIONS = FrameLayer(
    kind="contradictions",
    title="Mark where it contradicts the input",
    help="A layer with the places at which the restoration removed (green) or invented (pink) more than the noise of "
    f"the input explains. {RATE:.0%} of what is marked is expected to be false. What is too faint for the noise, or "
    "much smaller than a few pixels, cannot be found. The colour is the deviation in standard deviations of the noise.",
    compute=lambda image, restored: find_contradictions(image, restored).marked(),
    limit=lambda *_: LARGEST_DEVIATION,
)

ERROR_MAP = FrameLayer(
    kind="error map",
    title="Show the error map (RSE)",
    help="A layer with the absolute difference to the ground truth, as a share of its range, brightness fitted: "
    "the error map of SQUIRREL (Culley 2018), without the blur for super-resolution. RSE is its root mean square, RSP "
    "the correlation of both images. Without a ground truth there is none: against the noisy input, it would show the "
    "noise. Look at the residual then, and at what contradicts the input.",
    compute=scaled_errors,
    limit=error_limit,
    needs_truth=True,
    has_sign=False,
)
