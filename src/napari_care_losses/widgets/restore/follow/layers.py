"""The layers that show what is followed: replaced in place, or growing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_care_losses.widgets.layers.conversion import LARGEST_IN_MEMORY, comparable_limits, placement, shown_index
from napari_care_losses.widgets.layers.new_data import set_data
from napari_care_losses.widgets.layers.restored_layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_care_losses.following.source import Layout
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.widgets.layers.partial_movie import PartialMovie
    from napari_care_losses.widgets.restore.follow.work import FollowReport

FOLLOWED = "followed"
"""Kind of layer, beside those of `napari_care_losses.widgets.layers.restored_layers`."""

WIDER = 0.25
"""Share of the contrast's width by which the right contrast may differ from the one shown."""


class FollowedLayers:
    """Shows restored frames beside their source, and the frames of a camera.

    Parameters
    ----------
    viewer : ViewerModel
        Where.
    entry : LibraryEntry
        The model.
    name : str
        That of the source.
    source : Image, optional
        The layer that is followed; without one, the frames as they came are shown, too.
    """

    def __init__(self, viewer: ViewerModel, entry: LibraryEntry, name: str, source: Image | None) -> None:
        self._viewer, self._source = viewer, source
        self._original = None if source is not None else _Shown(viewer, name, None)
        self._restored = _Shown(viewer, f"restored {name} ({entry.path.stem})", source, _mark(entry, source))
        self._is_at_end = True

    @property
    def layer(self) -> Image | None:
        """The layer with what is restored, once there is one."""
        return self._restored.layer

    @property
    def is_gone(self) -> bool:
        """Whether the user has removed the layer with what is restored."""
        return self.layer is not None and self.layer not in self._viewer.layers

    def rename(self, entry: LibraryEntry, name: str) -> None:
        """Say that another model restores from here on."""
        self._restored.name = f"restored {name} ({entry.path.stem})"
        self._restored.mark = _mark(entry, self._source)

    def show(self, report: FollowReport) -> None:
        """Show the newest frame of a live image, or what has come to a sequence."""
        frame, layout = report.progress.frame, report.progress.layout
        if frame is None or layout is None or self.is_gone:
            return
        if report.movies is None:
            if self._original is not None and report.progress.original is not None:
                self._original.replace(report.progress.original, layout)
            self._restored.replace(frame.image, layout)
            return
        self._is_at_end = self._stands_at_end()
        if self._original is not None and report.movies.originals is not None:
            self._original.grow(report.movies.originals, frame.index, layout)
        self._restored.grow(report.movies.restored, frame.index, layout)
        if self._is_at_end:
            self._go_to_end()

    def hand_over(self) -> None:
        """Leave the layers to the user: what memory holds becomes plain arrays."""
        for shown in filter(None, (self._original, self._restored)):
            shown.hand_over()

    def _stands_at_end(self) -> bool:
        """Return whether the slider stands at the last time point, from where it follows the newest."""
        layer = self.layer
        if layer is None:
            return True
        place = np.unravel_index(shown_index(layer, self._viewer.dims), layer.data.shape[:-2])
        return int(place[0]) >= self._restored.shown_times - 1

    def _go_to_end(self) -> None:
        layer = self.layer
        if layer is not None and layer.data.shape[0]:
            axis = self._viewer.dims.ndim - layer.ndim
            world = layer.data_to_world((layer.data.shape[0] - 1, *(0,) * (layer.ndim - 1)))[0]
            self._viewer.dims.set_point(axis, world)


class _Shown:
    """A layer, made when there is something to show, and its contrast."""

    def __init__(
        self, viewer: ViewerModel, name: str, source: Image | None, mark: dict[str, Any] | None = None
    ) -> None:
        self._viewer, self.name, self._source, self.mark = viewer, name, source, mark
        self.layer: Image | None = None
        self._limits: tuple[float, float] | None = None
        self.shown_times = 0

    def replace(self, image: NDArray[Any], layout: Layout) -> None:
        """Show an image (Y, X) in place of the one before."""
        limits = comparable_limits(image)
        if self.layer is None:
            self._add(np.array(image), limits, layout)
            return
        if self.layer not in self._viewer.layers:
            return
        data = self.layer.data
        if isinstance(data, np.ndarray) and (data.shape, data.dtype) == (image.shape, image.dtype):
            data[...] = image
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)
        else:
            set_data(self.layer, np.array(image))
        self._settle(limits)
        if self.layer.name != self.name:
            self._rename()

    def grow(self, movie: PartialMovie, index: int, layout: Layout) -> None:
        """Show a movie that has grown, of which a frame was filled."""
        times, per_time = movie.shape[0], layout.frames_per_time
        place = (index // per_time, *np.unravel_index(index % per_time, layout.inner)) if layout.inner else (index,)
        limits = comparable_limits(np.asarray(movie[tuple(map(int, place))]))
        if self.layer is None:
            self._add(movie, limits, layout)
        elif self.layer not in self._viewer.layers:
            return
        elif self.layer.data is not movie or times != self.shown_times:
            set_data(self.layer, movie)
        else:
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)
        self.shown_times = times
        self._settle(limits)

    def hand_over(self) -> None:
        """Turn a movie that memory holds into a plain array."""
        layer = self.layer
        if layer is None or layer not in self._viewer.layers:
            return
        layer.refresh()
        if not isinstance(layer.data, np.ndarray) and layer.data.nbytes <= LARGEST_IN_MEMORY:
            set_data(layer, np.asarray(layer.data))

    def _add(self, data: Any, limits: tuple[float, float], layout: Layout) -> None:
        source, selected = self._source, set(self._viewer.layers.selection)
        if source is not None:
            options: dict[str, Any] = {**placement(source), "colormap": source.colormap}
        else:
            options = {"axis_labels": tuple(layout.axes.lower())[-data.ndim :], "colormap": "gray"} | _scaled(
                layout, data
            )
        layer = Image(
            data,
            name=self.name,
            rgb=False,
            multiscale=False,
            contrast_limits=limits,
            metadata={} if self.mark is None else {KEY: self.mark},
            **options,
        )
        if self.mark is not None:
            self.mark["layer"] = layer.unique_id
        self.layer = layer
        self._viewer.add_layer(layer)
        if source is not None:
            # what the user had selected stays selected
            self._viewer.layers.selection = selected
        self._limits = tuple(layer.contrast_limits)
        self._settle(limits)

    def _rename(self) -> None:
        assert self.layer is not None
        self.layer.name = self.name
        if self.mark is not None:
            self.mark["layer"] = self.layer.unique_id
            self.layer.metadata[KEY] = self.mark

    def _settle(self, limits: tuple[float, float]) -> None:
        """Follow the brightness, roughly, until the user sets the contrast by hand."""
        layer = self.layer
        if layer is None or self._limits is None or tuple(layer.contrast_limits) != self._limits:
            return
        old, width = self._limits, limits[1] - limits[0]
        if max(abs(new - shown) for new, shown in zip(limits, old, strict=True)) > WIDER * width:
            low, high = layer.contrast_limits_range
            layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
            layer.contrast_limits = limits
            self._limits = tuple(layer.contrast_limits)


def _mark(entry: LibraryEntry, source: Image | None) -> dict[str, Any]:
    return {"source": None if source is None else source.unique_id, "model": str(entry.path), "kind": FOLLOWED}


def _scaled(layout: Layout, data: Any) -> dict[str, Any]:
    """Return scale and units of frames whose pixel size is known."""
    size = layout.calibration.pixel_size
    if size is None:
        return {}
    leading = data.ndim - 2
    return {"scale": (*(1.0,) * leading, *size), "units": (*("pixel",) * leading, "um", "um")}
