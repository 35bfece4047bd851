"""One pair of a table of pairs: its layers or files, and whether it can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import InputError
from napari_care_losses.training.pair_sources import PairSource, check_pair, examine_pair, shape_text
from napari_care_losses.widgets.layers.conversion import layer_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari.layers import Image

UNSET = "choose…"


class Look(NamedTuple):
    """What was found of a pair.

    Attributes
    ----------
    number : int
        Which pair.
    shape : tuple of int, optional
        Of both its stacks, if it can be used.
    problem : str
        Why it cannot be used.
    doubts : tuple of str
        What is doubtful of it.
    is_last : bool
        Whether nothing more will be found.
    """

    number: int
    shape: tuple[int, ...] | None = None
    problem: str = ""
    doubts: tuple[str, ...] = ()
    is_last: bool = False


class PairRow:
    """A pair of layers, chosen in the viewer, or of files.

    Parameters
    ----------
    on_changed : callable
        Called with the row when its layers, their names or its verdict change.
    files : PairSource, optional
        The files of a pair that is not in the viewer.

    Attributes
    ----------
    source : PairSource, optional
        What the row stands for; None where a layer is missing or cannot be used.
    shape : tuple of int, optional
        Shape of both stacks once they have been found usable.
    problem : str
        Why the pair cannot be used.
    doubts : sequence of str
        What is doubtful of a pair that can be used.
    is_examined : bool
        Whether all of its frames have been looked at.
    twin : int, optional
        Number of the row that lists the same pair already.
    """

    def __init__(self, on_changed: Callable[[PairRow], None], files: PairSource | None = None) -> None:
        self._on_changed = on_changed
        self._files = files
        self.layers: tuple[Image | None, Image | None] = (None, None)
        self.source = files
        self.shape: tuple[int, ...] | None = None
        self.problem = ""
        self.doubts: Sequence[str] = ()
        self.is_examined = False
        self.twin: int | None = None
        if files is None:
            self.check()

    @property
    def has_files(self) -> bool:
        """Whether the pair lies in files."""
        return self._files is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been chosen yet."""
        return self._files is None and self.layers == (None, None)

    @property
    def is_checked(self) -> bool:
        """Whether it is known if the pair can be used."""
        return self.shape is not None or bool(self.problem)

    @property
    def is_usable(self) -> bool:
        """Whether the pair can be learnt from."""
        return self.shape is not None and self.twin is None

    @property
    def names(self) -> tuple[str, str]:
        """What is shown for the low and the high exposure."""
        if self._files is not None:
            low, high = _file_name(self._files.low), _file_name(self._files.high)
            return low, high
        low, high = (UNSET if layer is None else layer.name for layer in self.layers)
        return low, high

    @property
    def verdict(self) -> str:
        """Whether the pair can be used, and why not; empty where nothing has been chosen."""
        if self.is_empty:
            return ""
        if self.problem:
            return f"✗ {self.problem}"
        if self.shape is None:
            return "… being checked"
        if self.twin is not None:
            return f"✗ Listed twice: row {self.twin} is the same pair."
        mark = f"⚠ {describe(self.shape)}. " if self.doubts else f"✓ {describe(self.shape)}"
        return mark + " ".join(self.doubts)

    def choose(self, low: Image | None, high: Image | None) -> None:
        """Choose both layers."""
        self.release()
        self.layers = (low, high)
        for layer in {id(layer): layer for layer in self.layers if layer is not None}.values():
            layer.events.name.connect(self._on_renamed)
            layer.events.data.connect(self._on_data)
        self.check()
        self._on_changed(self)

    def release(self) -> None:
        """Follow the layers no longer."""
        for layer in {id(layer): layer for layer in self.layers if layer is not None}.values():
            layer.events.name.disconnect(self._on_renamed)
            layer.events.data.disconnect(self._on_data)
        self.layers = (None, None)

    def check(self) -> None:
        """Find the verdict of layers that are in memory; that of others is left to `checked`."""
        self.source, self.shape, self.problem = self._files, None, ""
        self.doubts, self.is_examined = (), False
        try:
            if self._files is None:
                self.source = layer_pair(*self.layers)
            if self.source is not None and self.source.is_at_hand:
                self.shape = check_pair(self.source)
        except InputError as error:
            self.problem = str(error)

    def settle(self, look: Look) -> None:
        """Take what was found of the pair in the background."""
        was = self.verdict
        self.shape, self.problem, self.doubts = look.shape, look.problem, look.doubts
        self.is_examined = look.is_last
        if self.verdict != was:
            self._on_changed(self)

    def _on_renamed(self, _event: object = None) -> None:
        if self.source is not None and self.layers[0] is not None:
            self.source = self.source._replace(name=self.layers[0].name)
        self._on_changed(self)

    def _on_data(self, _event: object = None) -> None:
        self.check()
        self._on_changed(self)


def layer_pair(low: Image | None, high: Image | None) -> PairSource:
    """Return the pair two layers make.

    Raises
    ------
    InputError
        If one is missing, RGB, or no stack of frames.
    """
    if low is None or high is None:
        raise InputError("Choose a low and a high exposure.")
    return PairSource(low.name, layer_frames(low), layer_frames(high))


def look_at(rows: Sequence[tuple[int, PairSource]]) -> Iterator[Look | None]:
    """Look at the first frames of all pairs, then at all frames of those that can be used.

    Yields
    ------
    Look or None
        What was found of a pair; None where there is nothing new.
    """
    usable: list[Look] = []
    sources = dict(rows)
    for number, source in rows:
        try:
            look = Look(number, shape=check_pair(source))
            usable.append(look)
        except InputError as error:
            look = Look(number, problem=str(error), is_last=True)
        yield look
    for look in usable:
        work = examine_pair(sources[look.number])
        try:
            while True:
                next(work)
                yield None
        except StopIteration as finished:
            yield look._replace(doubts=tuple(finished.value), is_last=True)
        except InputError as error:
            yield Look(look.number, problem=str(error), is_last=True)


def describe(shape: Sequence[int]) -> str:
    """Return a shape in words: 3 frames of 40 x 52 px."""
    count = 1
    for size in shape[:-2]:
        count *= size
    return f"{count} frame{'s' if count > 1 else ''} of {shape_text(shape[-2:])} px"


def _file_name(side: object) -> str:
    path: Path = side  # type: ignore[assignment]
    return path.name
