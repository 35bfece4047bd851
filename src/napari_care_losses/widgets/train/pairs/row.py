"""One pair of the table: its layers or files, and whether it can be used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari.layers import Image

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import InputError, UnusableImageError
from napari_care_losses.training.pair_names import explain_unmatched, match_names
from napari_care_losses.training.pair_sources import PairSource, check_pair, examine_pair, shape_text
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.shared.events import Links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari.layers import Layer

UNSET = "choose…"


class PairCheck(NamedTuple):
    """The result of checking a pair, given by its number."""

    number: int
    shape: tuple[int, ...] | None = None
    """Shape of both stacks, if the pair can be used."""

    problem: str = ""
    """Why it cannot be used."""

    warnings: tuple[str, ...] = ()
    """What may be wrong with a pair that can be used."""

    remarks: tuple[str, ...] = ()
    """What is good to know of it."""

    left_out: int = 0
    """Number of frames that a training leaves out."""

    is_blank: bool = False
    """Whether the problem is that no frame can be learnt from: a training of other pairs leaves such a pair out."""

    is_last: bool = False
    """Whether the check is complete."""


class PairRow:
    """A pair of layers, chosen in the viewer, or of files.

    Parameters
    ----------
    on_changed : callable
        Called with the row when its layers, their names or its verdict change.
    files : PairSource, optional
        The files of a pair that is not in the viewer.
    target : str
        What the network learns from, as in `PairSource`.

    Attributes
    ----------
    source : PairSource, optional
        The pair; None where a layer is missing or cannot be used.
    shape, problem, warnings, left_out, is_blank
        As in `PairCheck`.
    is_examined : bool
        Whether all of its frames have been checked.
    twin : int, optional
        Number of the row that lists the same pair already.
    exclusion : str
        That and why a training leaves the pair out while it has others; else empty.
    refusal : str
        Why there is no training with patches of the chosen size, for all images of the table are too small; else empty.
    """

    def __init__(
        self, on_changed: Callable[[PairRow], None], files: PairSource | None = None, *, target: str = "clean"
    ) -> None:
        self._on_changed = on_changed
        self.target = target if files is None else files.target
        self._around: tuple[int, str] = (0, "auto")
        self._files = files
        self._links = Links()
        self.layers: tuple[Image | None, Image | None] = (None, None)
        self.source = files
        self.shape: tuple[int, ...] | None = None
        self.problem = ""
        self.warnings: Sequence[str] = ()
        self.remarks: Sequence[str] = ()
        self.left_out, self.is_blank = 0, False
        self.is_examined = False
        self.twin: int | None = None
        self.exclusion = self.refusal = ""
        if files is None:
            self.check()

    @property
    def has_files(self) -> bool:
        """Whether the pair is in files, not in layers."""
        return self._files is not None

    @property
    def is_alone(self) -> bool:
        """Whether there is no second image."""
        return not TARGETS[self.target].takes_high

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been chosen yet."""
        return self._files is None and self.layers == (None, None)

    @property
    def is_checked(self) -> bool:
        """Whether the check has found the pair usable or not."""
        return self.shape is not None or bool(self.problem)

    @property
    def is_usable(self) -> bool:
        """Whether the pair can be used for training, which may leave it out for others."""
        return self.shape is not None and self.twin is None and not self.refusal

    @property
    def image_shapes(self) -> list[tuple[int, ...]]:
        """Shape (Y, X) of the images that the pair adds to a training, at most two of them; none if it adds nothing."""
        if self.shape is None or self.twin is not None:
            return []
        # the next frame of a movie makes one example of two
        each = 2 if self.target == "next" else 1
        return [self.shape[-2:]] * min(2, math.prod(self.shape[:-2]) // each - self.left_out)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the low and the high exposure."""
        sides = self.layers if self._files is None else (self._files.low, self._files.high)
        low, high = (UNSET if side is None else side.name for side in sides)
        return low, "" if self.is_alone else high

    @property
    def verdict(self) -> str:
        """Whether the pair can be used, and why not; empty where nothing has been chosen."""
        if self.is_empty:
            return ""
        if self.problem:
            return f"⚠ {self.exclusion}" if self.exclusion else f"✗ {self.problem}"
        if self.shape is None:
            return "… being checked"
        if self.twin is not None:
            return f"✗ Listed twice: row {self.twin} is the same pair."
        if self.refusal:
            return f"✗ {self.refusal}"
        count = math.prod(self.shape[:-2])
        what = f"{count} frame{'s' if count > 1 else ''} of {shape_text(self.shape[-2:])} px"
        warnings = [warning for warning in (self.exclusion, *self.warnings) if warning]
        if warnings:
            return " ".join([f"⚠ {what}.", *warnings, *self.remarks])
        return " ".join([f"✓ {what}.", *self.remarks]) if self.remarks else f"✓ {what}"

    def choose(self, low: Image | None, high: Image | None) -> None:
        """Choose both layers."""
        self._connect(low, high)
        self._on_changed(self)

    def let_go(self, layer: Layer) -> bool:
        """Let go of a layer that has been removed, and return whether it was one of the pair's; nobody is told."""
        is_own = any(own is layer for own in self.layers)
        if is_own:
            self._connect(*(None if own is layer else own for own in self.layers))
        return is_own

    def _connect(self, low: Image | None, high: Image | None) -> None:
        self.release()
        self.layers = (low, high)
        for layer in {id(layer): layer for layer in self.layers if layer is not None}.values():
            self._links.add(layer.events.name, self._on_renamed)
            for name in ("data", "scale", "units"):
                self._links.add(getattr(layer.events, name), self._on_data)
        self.check()

    def set_target(self, target: str) -> None:
        """Learn from this; a second image that is not needed stays chosen. Nobody is told."""
        self.target = target
        if self._files is not None:
            self._files = self._files._replace(target=target)
        self.check()

    def set_neighbours(self, number: int, along: str) -> None:
        """Learn from so many frames around each frame too, as in `PairSource`. Nobody is told."""
        self._around = (number, along)
        if self._files is not None:
            self._files = self._files._replace(neighbours=number, along=along)
        self.check()

    def release(self) -> None:
        """Disconnect from the layers."""
        self._links.cut()
        self.layers = (None, None)

    def check(self) -> None:
        """Check layers that are in memory; other pairs wait for `settle`."""
        self.source, self.shape, self.problem = self._files, None, ""
        self.warnings, self.left_out, self.is_blank, self.is_examined = (), 0, False, False
        self.remarks, self.exclusion = (), ""
        try:
            if self._files is None:
                low, high = self.layers
                if low is None or (high is None and not self.is_alone):
                    raise InputError("Choose a noisy image." if self.is_alone else "Choose a low and a high exposure.")
                second = None if self.is_alone else layer_frames(high)
                self.source = PairSource(low.name, layer_frames(low), second, self.target, *self._around)
            if self.source is not None and self.source.is_at_hand:
                self.shape = check_pair(self.source)
        except InputError as error:
            self.problem, self.is_blank = str(error), isinstance(error, UnusableImageError)

    def settle(self, check: PairCheck) -> None:
        """Take the result of the check in the background."""
        was = self.verdict
        self.shape, self.problem = check.shape, check.problem
        self.warnings, self.remarks = check.warnings, check.remarks
        self.left_out, self.is_blank, self.is_examined = check.left_out, check.is_blank, check.is_last
        if self.verdict != was:
            self._on_changed(self)

    def _on_renamed(self, _event: object = None) -> None:
        if self.source is not None and self.layers[0] is not None:
            self.source = self.source._replace(name=self.layers[0].name)
        self._on_changed(self)

    def _on_data(self, _event: object = None) -> None:
        self.check()
        self._on_changed(self)


class LayerMatches(NamedTuple):
    """Pairs of layers found by their names."""

    new: list[tuple[Image, Image]]
    """Low and high layer of every pair that is not in the table yet."""

    about: str
    """What adding them does, or why there is nothing to add."""

    result: str
    """What to say once they are added."""


def is_original(layer: Layer) -> bool:
    """Return whether a layer is an image that was not restored by this plugin."""
    return isinstance(layer, Image) and not is_result(layer)


def match_layers(layers: Iterable[Layer]) -> tuple[list[tuple[Image, Image]], str]:
    """Return the pairs that image layers form by their names, and a sentence on those that fit several partners.

    Layers restored by this plugin are left out.
    """
    images = {layer.name: layer for layer in layers if is_original(layer)}
    matching = match_names(list(images))
    found = [(images[low], images[high]) for low, high in matching.pairs]
    return found, explain_unmatched(matching._replace(alone=[]))


def new_matches(
    found: Sequence[tuple[Image, Image]], left_out: str, listed: Iterable[tuple[Image | None, Image | None]]
) -> LayerMatches:
    """Return those pairs of `match_layers` that the table does not list yet."""
    known = {tuple(map(id, pair)) for pair in listed}
    new = [pair for pair in found if tuple(map(id, pair)) not in known]
    count = f"{len(new)} pair{'s' if len(new) != 1 else ''}"
    if new:
        about = f"Add the {count} found by the layers' names."
    elif found:
        about = "All pairs found by the layers' names are in the table."
    else:
        about = (
            "No two layers have names that differ only in the exposure, such as actin low and actin high, or 1 ms "
            f"and 100 ms. {left_out}"
        ).strip()
    return LayerMatches(new, about, f"{count} matched by name. {left_out}".strip())


def check_pairs(rows: Sequence[tuple[int, PairSource]]) -> Iterator[PairCheck | None]:
    """Check the first frames of all pairs, then all frames of the usable ones; yields None where nothing is new."""
    usable: list[PairCheck] = []
    sources = dict(rows)
    for number, source in rows:
        try:
            check = PairCheck(number, shape=check_pair(source))
            usable.append(check)
        except InputError as error:
            is_blank = isinstance(error, UnusableImageError)
            check = PairCheck(number, problem=str(error), is_blank=is_blank, is_last=True)
        yield check
    for check in usable:
        work = Steps(examine_pair(sources[check.number]))
        try:
            for _ in work:
                yield None
            found = work.result
            yield check._replace(
                warnings=tuple(found.warnings), remarks=tuple(found.remarks), left_out=found.left_out, is_last=True
            )
        except InputError as error:
            yield PairCheck(check.number, problem=str(error), is_last=True)
