"""What takes the restored frames of a growing source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_care_losses.following.source import Layout
    from napari_care_losses.restoration.restore_frame import RestoredFrame


class Sink(Protocol):
    """Where restored frames go."""

    def begin(self, layout: Layout, opening: int) -> int:
        """Begin before the first frame is restored.

        Parameters
        ----------
        layout : Layout
            What all frames have in common.
        opening : int
            Number of first frames that are measured.

        Returns
        -------
        int
            The number to measure: that of the run that is resumed, where one is, so that both compute alike.
        """

    @property
    def done(self) -> Collection[int]:
        """Frames that are there already, once it has begun."""

    def write(self, frame: RestoredFrame, delay: float | None) -> None:
        """Take a restored frame; called in another thread, one frame at a time."""

    def finish(self, count: int) -> None:
        """Make the result whole, of `count` frames that have all been written."""
