"""When following ends, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.following.delays import Delays
    from napari_care_losses.following.source import Layout
    from napari_care_losses.restoration.restore_frame import RestoredFrame


@dataclass(frozen=True, kw_only=True)
class FollowOptions:
    """When following ends, and where it computes."""

    until: int | None = None
    """Time points after which it ends; by default it does not."""
    idle: float | None = None
    """Seconds without a new frame after which it ends; by default it does not."""
    device: str = "auto"
    """One of `napari_care_losses.restoration.parameters.DEVICES`."""

    def __post_init__(self) -> None:
        if self.until is not None and self.until < 1:
            raise ParameterError(f"Expected at least 1 frame to follow until, found {self.until}.")
        if self.idle is not None and not self.idle > 0:
            raise ParameterError(f"Expected more than 0 seconds to wait for frames, found {self.idle:g}.")


class FollowProgress(NamedTuple):
    """A step of following: what has come and what is restored."""

    arrived: int
    """Frames that have come, those of earlier runs among them."""
    restored: int
    """Frames that are restored, those of earlier runs among them."""
    waiting: int
    """Frames that have come and are not restored yet."""
    dropped: int
    """Frames of a live image that were replaced before they could be restored."""
    delays: Delays
    """Delays of all frames restored so far, from their arrival on; it grows."""
    layout: Layout | None = None
    """What all frames have in common; None before the first one has come."""
    frame: RestoredFrame | None = None
    """The frame that this step restored, if it did; its index is the number of the frame."""
    original: NDArray[Any] | None = None
    """The same frame as it came."""
    delay: float | None = None
    """Seconds from its arrival until it was restored; None of frames that were there from the first."""
    note: str = ""
    """Note for the user on settings, source and unusual frames; may be empty."""
