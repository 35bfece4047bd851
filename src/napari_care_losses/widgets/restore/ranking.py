"""The models of the chooser, sorted in the background by how well they restore the shown image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.layers.conversion import pixels_of
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.rank_models import RankedModel

DELAY_MS = 500
"""How long an image has to be shown before its models are tried."""

LOOK_MS = 100
"""Time between two looks whether what comes first is over."""


class ModelRanking(QObject):
    """Ranks the models of the library once for each image, on the frame that is shown first.

    It begins once `comes_first` returns false: the first preview has the cores for itself.
    """

    ranked = Signal(object)
    """The models, sorted: a list of `RankedModel`."""

    def __init__(self, comes_first: Callable[[], bool], *, parent: QObject) -> None:
        super().__init__(parent)
        self._comes_first = comes_first
        self._asked: tuple[Any, ...] = (None,)
        self._work: Callable[[], Iterator[list[RankedModel] | None]] | None = None
        self._waiting = SingleShot(self, DELAY_MS, self._begin)
        self._job = LatestJob(parent=self, delay_ms=0, libraries=libraries)
        self._job.reported.connect(self._on_reported)

    @property
    def is_running(self) -> bool:
        """Whether models are being tried."""
        return self._waiting.isActive() or self._job.is_running

    def rank(self, frames: Frames | None, index: int, entries: Sequence[LibraryEntry]) -> None:
        """Rank models by a frame of a stack, unless that is known or under way; nothing for fewer than two."""
        paths = [entry.path for entry in entries]
        # the pixels themselves: an id may be used again
        asked = (None,) if frames is None or len(entries) < 2 else (pixels_of(frames.data), frames.axes, paths)
        if asked[0] is self._asked[0] and asked[1:] == self._asked[1:]:
            return
        self._asked = asked
        self.stop()
        if frames is not None and len(entries) > 1:
            self._work = lambda: _ranked(frames, index, list(entries))
            self._waiting.start(DELAY_MS)

    def stop(self) -> None:
        """Try no models, and none that wait."""
        self._waiting.stop()
        self._work = None
        self._job.cancel()

    def _begin(self) -> None:
        if self._comes_first():
            self._waiting.start(LOOK_MS)
        elif self._work is not None:
            self._job.request(self._work)

    def _on_reported(self, found: list[RankedModel] | None) -> None:
        if found is not None:
            self.ranked.emit(found)


def _ranked(frames: Frames, index: int, entries: list[LibraryEntry]) -> Iterator[list[RankedModel] | None]:
    # imported here, in the background: opening the widget need not wait for it
    from napari_care_losses.compute.steps import Steps
    from napari_care_losses.restoration.rank_models import rank_models

    trying = Steps(rank_models(frames, index, entries))
    for _ in trying:
        yield None
    yield trying.result
