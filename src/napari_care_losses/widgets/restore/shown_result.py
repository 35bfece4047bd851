"""Which restored layer belongs to what the Restore widget shows, and what has changed since it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    find_result,
    frames_done,
    other_settings,
    result_of,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.widgets.layers.restored_layers import Plan


@dataclass(frozen=True)
class Chosen:
    """What is chosen in the widget; `parameters` are None where they do not go together.

    Attributes
    ----------
    viewer, source, entry, parameters
        The viewer, layer, model and settings.
    """

    viewer: ViewerModel
    source: Image
    entry: LibraryEntry
    parameters: RestorationParameters | None

    def result(self, kind: str, running: Plan | None) -> Image | None:
        """Return the layer of the run, or that of the settings, or else the topmost that the model restored."""
        if running is not None and (running.source, running.entry.path) == (self.source, self.entry.path):
            return result_of(self.viewer, running, kind)
        return self._exact(kind) or find_result(self.viewer, self.source, self.entry, kind)

    def is_restored(self, index: int) -> bool:
        """Return whether a frame has been restored with just these settings."""
        return index in frames_done(self._exact(RESTORED))

    def note(self, restored: Image | None) -> str:
        """Return what has changed since a layer was restored; empty if nothing has."""
        if restored is None or self.parameters is None:
            return ""
        changed = other_settings(restored, self.source, self.entry, self.parameters)
        text = f"{restored.name} was restored otherwise. Now: {changed}. Restore makes another layer."
        return text if changed else ""

    def _exact(self, kind: str) -> Image | None:
        if self.parameters is None:
            return None
        return find_result(self.viewer, self.source, self.entry, kind, self.parameters)
