"""Pairs as the user chose them, in memory or in files, and checks of whether they can be used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnusableImageError
from napari_care_losses.images.axes import truth_of
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.neighbours import neighbour_axis
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.stacks import READ_SUFFIXES, image_name, stacks_of, whole_stacks
from napari_care_losses.training.pair_checks import pixel_size_warning
from napari_care_losses.training.pair_names import explain_unmatched, match_files, match_names, natural_key
from napari_care_losses.training.pairs import Pair, check_images, images_reader
from napari_care_losses.training.targets.registry import TARGETS

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Hashable, Sequence
    from pathlib import Path

    from napari_care_losses.training.targets.base import Target


PAIRINGS = ("name", "order")
"""How files may be paired."""

MAX_LISTED = 12
"""Most pairs of files that a message lists."""

WARNED_FRAMES = 3
"""Frames of a pair, spread over all, that are checked for warnings: this takes longer than reading them."""


class PairSource(NamedTuple):
    """A low and a high exposure of the same fields of view, or a noisy stack alone."""

    name: str
    """Used in messages and in the model's provenance."""
    low: Frames | Path
    """A stack, or the file it is read from when it is needed: many files are never open at once."""
    high: Frames | Path | None
    """None where the network learns from the noisy stack alone."""
    target: str = "clean"
    """What the network learns from, one of `napari_care_losses.training.parameters.TARGET_NAMES`."""
    neighbours: int = 0
    """How many frames around every frame it is given too, taken along `along`, one of
    `napari_care_losses.images.neighbours.ALONG`."""
    along: str = "auto"
    only: tuple[int, ...] | None = None
    """Numbers of the frames of the low stack that are learnt from, counted over all axes in front; None for all."""

    def opened(self) -> tuple[Frames, Frames | None]:
        """Return both stacks, lazily; raises as `read_stack` does."""
        low = _opened(self.low)
        return low, None if self.high is None else truth_of(_opened(self.high), low)

    @property
    def is_at_hand(self) -> bool:
        """Whether all is in memory, so that reading a frame takes no time."""
        return all(
            side is None or (isinstance(side, Frames) and type(side.data) is np.ndarray)
            for side in (self.low, self.high)
        )

    @property
    def key(self) -> tuple[Hashable, Hashable]:
        """What is equal for equal pairs."""
        return _key(self.low), _key(self.high)


def check_pair(source: PairSource) -> tuple[int, ...]:
    """Return the shape of the low stack, after looking for a usable frame; `examine_pair` looks at the others.

    Raises
    ------
    UnusableImageError
        If no frame of the two can be learnt from.
    InputError
        If they are no pair, or cannot be read.
    """
    first, second = source.key
    if first == second:
        what = "layer" if isinstance(source.low, Frames) else "file"
        raise InputError(f"The same {what} twice: choose the two exposures of one field of view.")
    low, high = source.opened()
    if high is not None and low.shape != high.shape:
        raise InputError(f"Different shapes: {shape_text(low.shape)} and {shape_text(high.shape)}.")
    if source.neighbours:
        neighbour_axis(low, source.along)
    read = images_reader(low, high)
    problem: InputError | None = None
    for place in TARGETS[source.target].places(low):
        try:
            check_images(*read(place)[:2])
        except InputError as error:
            problem = problem or error
        else:
            return low.shape
    text = str(problem)
    raise UnusableImageError(text[:1].upper() + text[1:]) from problem


def examples_of(target: Target, low: Frames, only: Collection[int] | None = None) -> list[tuple[int, ...]]:
    """Return the numbers of the frames that make every example of a stack, of some frames of it alone, or of all.

    Raises
    ------
    InputError
        If the frames make none.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> examples_of(TARGETS["self"], Frames(np.zeros((9, 8, 8))), {2, 5})
    [(2,), (5,)]
    """
    places = target.places(low)
    if only is None:
        return places
    chosen = [place for place in places if set(place) <= set(only)]
    if not chosen:
        raise InputError("The frames chosen give nothing to learn from: choose more of them.")
    return chosen


class Examined(NamedTuple):
    """What an examination of all frames of a pair has found."""

    warnings: list[str]
    """Which frames a training leaves out, and what is wrong with the pair and the first of its frames that is wrong."""
    left_out: int
    """Number of frames that a training leaves out."""
    remarks: Sequence[str] = ()
    """What is good to know, and no reason for doubt."""


def examine_pair(source: PairSource) -> Generator[int, None, Examined]:
    """Look at every frame of a pair that `check_pair` lets pass.

    Yields
    ------
    int
        Number of frames looked at so far.

    Returns
    -------
    Examined
        What was found.

    Raises
    ------
    InputError
        If a frame cannot be read, or the target cannot be had of the stack.
    """
    target, (low, high) = TARGETS[source.target], source.opened()
    places, read = target.places(low), images_reader(low, high)
    with_around = images_reader(low, high, source.neighbours, source.along)
    warned = evenly_spaced(places, WARNED_FRAMES)
    found: list[str] = []
    left_out: list[str] = []
    sample: list[Pair] = []
    for done, place in enumerate(places, 1):
        images = read(place)
        try:
            check_images(images.low, images.high)
        except InputError as error:
            left_out.append(f"Left out: frame {place[0]}, {error}")
            yield done
            continue
        if place in warned:
            sample.append(Pair(images.low, images.high, source.name, with_around(place).around))
            if not found:
                said = target.warnings(sample[-1])
                found = [f"Frame {place[0]}: {warning}" if len(places) > 1 else warning for warning in said]
        yield done
    target.check(sample)
    first = [left_out[0] + (f" {len(left_out) - 1} more too." if len(left_out) > 1 else "")] if left_out else []
    sizes = "" if high is None else pixel_size_warning(low, high)
    return Examined([*first, *([sizes] if sizes else []), *found], len(left_out), target.remarks(sample))


def first_listing(sources: Sequence[PairSource | None]) -> list[int | None]:
    """Return for every pair where in the list it stands already; None for the first of its kind."""
    seen: dict[Hashable, int] = {}
    places: list[int | None] = []
    for place, source in enumerate(sources):
        first = None if source is None else seen.setdefault(source.key, place)
        places.append(None if first == place else first)
    return places


def stack_files(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by name without suffix, 2 before 10.

    Raises
    ------
    InputError
        If the folder is missing, cannot be read or holds none.
    """
    try:
        paths = stacks_of(folder)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    # hidden files: what some systems leave beside every file they copy
    visible = (path for path in paths if not path.name.startswith("."))
    files = _by_name(sorted(visible, key=lambda path: natural_key(path.name)))
    if not files:
        raise InputError(
            f"The folder {folder} holds no image files ({', '.join(READ_SUFFIXES)}) and no OME-Zarr images."
        )
    return files


_Files = tuple["Path", "Path"]


def pair_files(low: Sequence[Path], high: Sequence[Path], pairing: str | None = None) -> tuple[list[_Files], str]:
    """Return pairs of files, or of the files in folders, and a sentence on those without a partner.

    Parameters
    ----------
    low, high : sequence of Path
        Files and folders of each exposure.
    pairing : str, optional
        One of `PAIRINGS`. By default by name, where every file has one partner and the order given is the same;
        files of folders may be left over. One file of each exposure needs no names.

    Raises
    ------
    InputError
        If a folder cannot be read, or it is not certain which files belong together.
    """
    lows, highs = listed_files(low), listed_files(high)
    by_order = list(zip(lows, highs, strict=False))
    one, other = _by_name(lows), _by_name(highs)
    is_same = set(lows) == set(highs) and len(lows) > 1
    matching = match_names(list(one)) if is_same else match_files(list(one), list(other))
    by_name = [] if matching.by_order else [(one[first], other[second]) for first, second in matching.pairs]
    is_even = len(lows) == len(highs)
    left_over = explain_unmatched(matching)
    is_clear = [*lows, *highs] != [*low, *high] and not matching.ambiguous
    if by_name and (pairing == "name" or (pairing is None and is_clear)):
        return by_name, left_over
    is_agreed = sorted(by_name) == sorted(by_order) or len(lows) == 1
    if is_even and (pairing == "order" or (pairing is None and is_agreed)):
        return by_order, ""
    if not is_even:
        reason = f"Every --low needs its --high, found {len(lows)} low and {len(highs)} high."
    elif not by_name:
        reason = "The names do not say which files belong together."
    else:
        reason = left_over or "The files are in another order than their names say."
    ways = {"name": by_name, "order": by_order if is_even else []}
    choices = [f"--pairing {way} pairs {_listing(pairs)}" for way, pairs in ways.items() if pairs and way != pairing]
    raise InputError(" ".join([reason, *(f"{choice}." for choice in choices)]))


def listed_files(paths: Sequence[Path]) -> list[Path]:
    """Return files, those in folders in place of the folders."""
    return whole_stacks(
        [
            file
            for path in paths
            for file in (stack_files(path).values() if path.is_dir() and not is_zarr(path) else [path])
        ]
    )


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by their names without suffix; with it, or with their folder, where names would be the same."""
    names = [image_name(path).removesuffix(".ome") for path in paths]
    for longer in (lambda path: path.name, str):
        counts = Counter(names)
        names = [longer(path) if counts[name] > 1 else name for name, path in zip(names, paths, strict=True)]
    return dict(zip(names, paths, strict=True))


def _listing(pairs: Sequence[_Files]) -> str:
    more = f", and {len(pairs) - MAX_LISTED} more" if len(pairs) > MAX_LISTED else ""
    return ", ".join(f"{low.name} with {high.name}" for low, high in pairs[:MAX_LISTED]) + more


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 9 x 512 x 512."""
    return " x ".join(map(str, shape))


def _opened(side: Frames | Path) -> Frames:
    if isinstance(side, Frames):
        return side
    # half a second to import, which the viewer's forms need not wait for
    from napari_care_losses.io.stacks import read_stack

    return read_stack(side)


def _key(side: Frames | Path | None) -> Hashable:
    if side is None:
        return None
    return id(side.data) if isinstance(side, Frames) else side.resolve()
