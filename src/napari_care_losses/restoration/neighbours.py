"""Along which axis a model of neighbouring frames takes them from a stack, and how that differs from its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.images.neighbours import along_neighbours, neighbour_axis, neighbour_spacing
from napari_care_losses.models.model import NEIGHBOUR_AXIS, NEIGHBOUR_SPACING

if TYPE_CHECKING:
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.model import ModelCard

CLEARLY_OTHER = 1.5
"""How many times as far apart, or as near, frames must be as those of the training for a note."""

_KINDS = {"T": ("frames along time", "s"), "Z": ("planes along Z", "um")}


class Neighbours(NamedTuple):
    """How many frames around each frame a model reads, along which axis, and a note for the user."""

    number: int = 0
    axis: str = ""
    note: str = ""

    def order(self, frames: Frames) -> list[int]:
        """Return the numbers of all frames in the order in which each has to be read once only."""
        return along_neighbours(frames, self.axis) if self.number else list(range(len(frames)))


def choose_neighbours(frames: Frames, card: ModelCard) -> Neighbours:
    """Return which neighbours of a stack's frames a model reads: along the axis of its training, if there is one.

    Raises
    ------
    InputError
        If it reads neighbours, and the stack has none.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.images.frames import Calibration, Frames
    >>> from napari_care_losses.models.architecture import Architecture
    >>> from napari_care_losses.models.model import ModelCard
    >>> training = {"neighbour_axis": "T", "neighbour_spacing": 1.0}
    >>> card = ModelCard(structure="other", loss="fft", architecture=Architecture(neighbours=4), training=training)
    >>> movie = Frames(np.zeros((9, 8, 8)), "TYX", Calibration(time_step=5.0))
    >>> print(choose_neighbours(movie, card).note)
    The model learnt from frames 1 s apart, these are 5 s apart: what moves may be blurred.
    """
    count = card.architecture.neighbours
    if not count:
        return Neighbours()
    sizes = dict(zip(frames.axes, frames.data.shape, strict=True))
    learnt = str(card.training.get(NEIGHBOUR_AXIS, ""))
    axis = neighbour_axis(frames, learnt.lower() if learnt in _KINDS and sizes.get(learnt, 1) > 1 else "auto")
    return Neighbours(count, axis, _note(frames, card, learnt, axis))


def _note(frames: Frames, card: ModelCard, learnt: str, axis: str) -> str:
    if learnt in _KINDS and learnt != axis:
        return f"The model learnt from neighbouring {_KINDS[learnt][0]}, these are {_KINDS[axis][0]}."
    before, now = card.training.get(NEIGHBOUR_SPACING), neighbour_spacing(frames, axis)
    if not isinstance(before, int | float) or not before > 0 or not now or now < 0:
        return ""
    if 1 / CLEARLY_OTHER < now / before < CLEARLY_OTHER:
        return ""
    kind, unit = _KINDS[axis]
    risk = "what moves may be blurred" if now > before and axis == "T" else "it may restore them less well"
    return (
        f"The model learnt from {kind.split()[0]} {before:.3g} {unit} apart, these are {now:.3g} {unit} apart: {risk}."
    )
