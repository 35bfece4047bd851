"""The layer of the live preview: a part of one frame, exactly over the layer it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_care_losses.restoration.preview.window import LARGEST_WINDOW
from napari_care_losses.widgets.layers.conversion import comparable_limits, full_shape, placement
from napari_care_losses.widgets.layers.restored_layers import KEY, find_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_care_losses.images.regions import Region
    from napari_care_losses.models.library import LibraryEntry

PREVIEW = "preview"
"""Kind of layer, beside those of `napari_care_losses.widgets.layers.restored_layers`."""

TOLERANCE = 0.1
"""Share of the contrast's width by which another window may exceed it without changing it."""


class PreviewedFrame(NamedTuple):
    """What is previewed."""

    source: Image
    entry: LibraryEntry
    index: int
    """Which frame."""
    version: object
    """Changes when the pixels restored before are outdated."""


class PreviewOverlay:
    """Shows restored tiles of one frame at a time, in a layer as large as the largest window; the rest is transparent.

    The layer is one frame thick: where the slider leaves the frame, the viewer shows nothing of it.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.layer: Image | None = None
        self._shown: PreviewedFrame | None = None
        self._origin = (0, 0)
        self._pixels: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._limits: tuple[float, float] | None = None
        self._are_limits_settled = False

    def paint(
        self,
        shown: PreviewedFrame,
        window: Region,
        position: tuple[slice, slice],
        image: NDArray[np.float32],
        *,
        is_quick: bool = False,
    ) -> None:
        """Lay a restored tile over its place in the frame; tiles of another frame or version vanish.

        The layer holds the window, the part that is looked at; what is out of its reach is left out. A tile of a quick
        preview covers only what is not there yet.
        """
        if self.layer is not None and (self._shown is None or self._shown.source is not shown.source):
            self.remove()
        shape = full_shape(shown.source)
        if self.layer is None:
            self._pixels = np.full([min(size, LARGEST_WINDOW) for size in shape[-2:]], np.nan, np.float32)
        self._turn_to(shown, window)
        self._copy(position, image, only_missing=is_quick)
        if self.layer is None:
            self._add(shown, comparable_limits(image))
        else:
            self._keep_above(shown.source)
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def settle_contrast(self, limits: tuple[float, float]) -> None:
        """Adapt the contrast to a window once it is complete: to the first as it is, later only where it exceeds.

        Nothing changes once the user has set the contrast by hand.
        """
        layer, old = self.layer, self._limits
        if layer is None or old is None or self._shown is None or tuple(layer.contrast_limits) != old:
            return
        low, high = self._of_the_result(self._shown) or limits
        if self._are_limits_settled:
            slack = TOLERANCE * (old[1] - old[0])
            low, high = low if low < old[0] - slack else old[0], high if high > old[1] + slack else old[1]
        self._are_limits_settled = True
        self._set_limits(layer, (low, high))

    def forget(self, index: int) -> None:
        """Make the layer transparent if it shows this frame."""
        if self.layer is not None and self._shown is not None and self._shown.index == index:
            self._shown = self._shown._replace(index=-1)
            self._pixels[:] = np.nan
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer, self.layer, self._shown = self.layer, None, None
        self._limits, self._are_limits_settled = None, False
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _turn_to(self, shown: PreviewedFrame, window: Region) -> None:
        """Move the layer so that it holds the window; what it shows of the same frame stays."""
        old, new = self._origin, self._origin_for(shown.source, window)
        before, self._shown, self._origin = self._shown, shown, new
        is_outdated = before is None or (before.index, before.version) != (shown.index, shown.version)
        if is_outdated or new != old:
            kept = self._pixels.copy()
            self._pixels[:] = np.nan
            if not is_outdated:
                self._copy(tuple(slice(at, at + size) for at, size in zip(old, kept.shape, strict=True)), kept)
        if before is not None and before.version != shown.version:
            self._are_limits_settled = False
        if self.layer is None:
            return
        if new != old or before is None or before.index != shown.index:
            self.layer.translate = self._placement(shown)["translate"]
        if before is None or before.entry != shown.entry:
            self.layer.name, self.layer.metadata[KEY] = _name(shown), _mark(shown)

    def _origin_for(self, source: Image, window: Region) -> tuple[int, int]:
        """Return (y, x) of the layer's first pixel in the frame; the present one while it holds the window."""
        starts = []
        for old, first, last, size, whole in zip(
            self._origin, window[::2], window[1::2], self._pixels.shape, full_shape(source)[-2:], strict=True
        ):
            holds = self.layer is not None and old <= first and last <= old + size
            centred = min(max(0, first - (size - (last - first)) // 2), whole - size)
            starts.append(old if holds else centred)
        return starts[0], starts[1]

    def _copy(self, position: tuple[slice, ...], image: NDArray[np.float32], *, only_missing: bool = False) -> None:
        """Copy an image, or those pixels of it that are missing, onto its place in the frame, within the layer."""
        inside, part = [], []
        for span, origin, size in zip(position, self._origin, self._pixels.shape, strict=True):
            first, last = max(span.start, origin), min(span.stop, origin + size)
            if first >= last:
                return
            inside.append(slice(first - origin, last - origin))
            part.append(slice(first - span.start, last - span.start))
        there, new = self._pixels[tuple(inside)], image[tuple(part)]
        there[...] = np.where(np.isnan(there), new, there) if only_missing else new

    def _add(self, shown: PreviewedFrame, limits: tuple[float, float]) -> None:
        source = shown.source
        limits = self._of_the_result(shown) or limits
        layer = Image(
            self._pixels.reshape((1,) * (source.ndim - 2) + self._pixels.shape),
            name=_name(shown),
            rgb=False,
            multiscale=False,
            contrast_limits=limits,
            colormap=source.colormap,
            interpolation2d=source.interpolation2d,
            metadata={KEY: _mark(shown)},
            **self._placement(shown),
        )
        # The array, not a copy: tiles are painted into it.
        assert np.shares_memory(layer.data, self._pixels)
        self._set_limits(layer, limits)
        layers = self._viewer.layers
        selected = set(layers.selection)
        self.layer = layer
        layers.insert(self._place(source), layer)
        layers.selection.intersection_update(selected)
        layers.selection.update(selected)

    def _keep_above(self, source: Image) -> None:
        layers = self._viewer.layers
        if self.layer in layers and source in layers and layers.index(self.layer) < self._place(source) - 1:
            layers.move(layers.index(self.layer), self._place(source))

    def _place(self, source: Image) -> int:
        """Return the place above the source and all that has been made of it: results of other models hide nothing."""
        layers = self._viewer.layers
        made = [layer for layer in layers if layer.metadata.get(KEY, {}).get("source") == source.unique_id]
        return 1 + max(layers.index(layer) for layer in (source, *made) if layer is not self.layer)

    def _set_limits(self, layer: Image, limits: tuple[float, float]) -> None:
        low, high = layer.contrast_limits_range
        if limits[0] < low or limits[1] > high:
            layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
        layer.contrast_limits = limits
        self._limits = tuple(layer.contrast_limits)

    def _of_the_result(self, shown: PreviewedFrame) -> tuple[float, float] | None:
        """Return the contrast of what the model has restored already: the preview should look like it."""
        result = find_result(self._viewer, shown.source, shown.entry)
        return None if result is None else tuple(result.contrast_limits)

    def _placement(self, shown: PreviewedFrame) -> dict[str, Any]:
        """Return the options that put the layer's first pixel onto its place in the source."""
        place = (*np.unravel_index(shown.index, full_shape(shown.source)[:-2]), *self._origin)
        return placement(shown.source, place)


def _name(shown: PreviewedFrame) -> str:
    return f"preview {shown.source.name} ({shown.entry.path.stem})"


def _mark(shown: PreviewedFrame) -> dict[str, Any]:
    return {"source": shown.source.unique_id, "model": str(shown.entry.path), "kind": PREVIEW}
