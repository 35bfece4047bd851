"""What a growing source is: where frames come from while they are acquired."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import LEADING_AXES, Calibration, ImageMetadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FrameGoneError(InputError):
    """A frame that can no longer be had: the source holds newer ones only."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What all frames of a source have in common, known once the first has come.

    Frames are numbered from 0, in C order over time and the axes of one time point: of ``TCYX`` with two channels,
    frame 5 is the second channel of the third time point.

    Parameters
    ----------
    frame_shape : tuple of int
        (Y, X) of every frame.
    dtype : numpy dtype
        Type of the pixels.
    axes : str
        Time first, then what one time point has (Z, C, in any order), then YX.
    inner : tuple of int
        Sizes of the axes between T and Y.
    calibration, metadata
        As in `napari_care_losses.images.frames.Frames`.

    Raises
    ------
    InputError
        If the axes do not begin with time, or do not fit the sizes.

    Examples
    --------
    >>> import numpy as np
    >>> layout = Layout(frame_shape=(512, 512), dtype=np.dtype("uint16"), axes="TCYX", inner=(2,))
    >>> layout.frames_per_time, layout.shape(times=10)
    (2, (10, 2, 512, 512))
    """

    frame_shape: tuple[int, int]
    dtype: np.dtype[Any]
    axes: str = "TYX"
    inner: tuple[int, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    metadata: ImageMetadata = field(default_factory=ImageMetadata)

    def __post_init__(self) -> None:
        inner = self.axes[1:-2]
        fits = self.axes == f"T{inner}YX" and len(inner) == len(self.inner) == len(set(inner))
        if not fits or not set(inner) <= set(LEADING_AXES) - {"T"} or min((*self.inner, *self.frame_shape)) < 1:
            raise InputError(
                f"Expected the axes of a growing stack, T first and YX last, found {self.axes} of one time point "
                f"{self.inner} and frames {self.frame_shape}."
            )

    @property
    def frames_per_time(self) -> int:
        """Number of frames of one time point: channels times planes."""
        return math.prod(self.inner)

    def shape(self, times: int) -> tuple[int, ...]:
        """Return the shape of a stack of so many time points."""
        return (times, *self.inner, *self.frame_shape)


@dataclass(frozen=True)
class Arrived:
    """What a source holds at one look at it."""

    count: int
    """How many frames have come so far: numbers 0 to `count` - 1, those that are `missing` among them."""
    oldest: int = 0
    """The oldest frame that can still be had; `count` - 1 of a live image, of which only the newest can."""
    missing: frozenset[int] = frozenset()
    """Frames below `count` that are not complete yet, where they come in another order."""
    has_ended: bool = False
    """Whether the source says that no more will come."""
    note: str = ""
    """What is to be known of it, such as files that were left out; often empty."""


class Source(Protocol):
    """Where frames come from while they are acquired; `napari_care_losses.following.follow.follow` looks at it.

    One thread at a time calls the methods, not always the same one.
    """

    name: str
    """What the user calls it: a file, a folder, a layer."""

    keeps_frames: bool
    """Whether older frames stay available; not of a live image, whose frames are dropped where restoring is slower."""

    @property
    def layout(self) -> Layout | None:
        """What all frames have in common; None before the first one has come."""

    def poll(self) -> Arrived:
        """Look at the source, quickly: what it holds now. A frame counts once it is complete.

        Raises
        ------
        InputError
            If the source cannot be followed any longer.
        """

    def frame(self, number: int) -> NDArray[Any]:
        """Return a complete frame (Y, X), which nobody will write into.

        Raises
        ------
        FrameGoneError
            If it can no longer be had.
        UnreadableError
            If it cannot be read.
        """

    def arrival(self, number: int) -> float | None:
        """Return when a frame was complete, in seconds of `time.monotonic`; None if it was there from the first."""

    def wait(self, seconds: float) -> None:
        """Wait until frames may have come, at most so long."""

    def close(self) -> None:
        """Let go of files and connections."""
