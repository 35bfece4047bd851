"""How a restored file or layer was made, as a command and as Python."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from napari_care_losses.images.selection import EVERYTHING, Selection, as_ranges
from napari_care_losses.provenance import (
    Code,
    Record,
    option,
    option_words,
    path_word,
    python_call,
    python_parameters,
    range_words,
)
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.parameters import IntervalFiles


NO_FILE = "INPUT.tif"
"""Stands for a stack that was read from no file."""


@dataclass(frozen=True, kw_only=True)
class RestorationRecord(Record):
    """What restored a file.

    Examples
    --------
    >>> from pathlib import Path
    >>> parameters = RestorationParameters(average_flips=True)
    >>> record = RestorationRecord(
    ...     model="fft-lite", source=Path("actin 1 ms.tif"), out=Path("restored.tif"), parameters=parameters
    ... )
    >>> print(record.bash())
    napari-care-losses restore fft-lite 'actin 1 ms.tif' --out restored.tif --average-flips
    >>> print(record.python())
    from pathlib import Path
    <BLANKLINE>
    import napari_care_losses as ncl
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.to_file import restore_to_file
    <BLANKLINE>
    source, out = Path('actin 1 ms.tif'), Path('restored.tif')
    frames = ncl.read_stack(source)
    model = ncl.load_model(ncl.find_model('fft-lite'))
    parameters = RestorationParameters(average_flips=True)
    for _ in restore_to_file(frames, model, out, parameters, source=source):
        pass
    """

    model: str
    """Name in the library or path, and after @ the first digits of the file's SHA-256."""
    source: Path
    out: Path
    parameters: RestorationParameters
    run: RunOptions = field(default_factory=RunOptions)
    channel: int | None = None
    """The only channel restored."""
    ranges: Sequence[tuple[int, int]] | None = None
    """The steps along time, or the planes, that were taken as if the file held no others."""
    selection: Selection = EVERYTHING
    """What was restored of these, as part of all of them."""
    incomplete: bool = False
    scale_out: Path | None = None
    intervals: IntervalFiles | None = None

    def words(self) -> list[str]:
        """Return the words of the command ``restore``."""
        frames, region = self.selection
        return [
            *("restore", self.model, path_word(self.source), *option("out", path_word(self.out))),
            *option("channel", self.channel),
            *option("frames", range_words(self.ranges)),
            *option("only", range_words(None if frames is None else as_ranges(frames))),
            *option("region", None if region is None else range_words([region[:2], region[2:]])),
            *option("incomplete", self.incomplete),
            *option("scale-out", None if self.scale_out is None else path_word(self.scale_out)),
            *self._interval_words(),
            *option("dtype", None if self.run.dtype == RunOptions.dtype else self.run.dtype),
            *option("ome-zarr", self.run.zarr_version),
            *option("device", None if self.run.device == RunOptions.device else self.run.device),
            *option_words(self.parameters),
        ]

    def _interval_words(self) -> list[str]:
        if self.intervals is None:
            return []
        level, lower, upper = self.intervals
        return ["--interval-out", path_word(lower), path_word(upper), *option("interval", f"{100 * level:g}")]

    def python(self) -> str:
        """Return the same as Python."""
        imports = [
            "from pathlib import Path",
            "",
            "import napari_care_losses as ncl",
            *(["from napari_care_losses.images.regions import Region"] if self.selection.region else []),
            *opening_imports(self.channel, self.selection),
            f"from napari_care_losses.restoration.parameters import {self._parameter_names()}",
            "from napari_care_losses.restoration.to_file import restore_to_file",
            "",
        ]
        run = {one.name: getattr(self.run, one.name) for one in fields(RunOptions) if one.name != "cluster"}
        other = {name: value for name, value in run.items() if value != getattr(RunOptions, name) and name != "resume"}
        arguments: dict[str, Any] = {"source": Code("source")}
        if self.channel is not None:
            arguments["channel"] = self.channel
        if self.selection != EVERYTHING:
            arguments["selection"] = Code(selection_as_python(self.selection))
        if self.scale_out is not None:
            arguments["scale_out"] = self.scale_out
        if self.intervals is not None:
            arguments["intervals"] = Code(python_call("IntervalFiles", self.intervals._asdict()))
        positional = ["frames", "model", "out", "parameters"]
        if other:
            positional.append(python_call("RunOptions", other))
        return "\n".join(
            [
                *imports,
                f"source, out = Path({str(self.source)!r}), Path({str(self.out)!r})",
                *opening("frames", "source", channel=self.channel, ranges=self.ranges, incomplete=self.incomplete),
                f"model = ncl.load_model(ncl.find_model({self.model!r}))",
                f"parameters = {python_parameters(self.parameters)}",
                f"for _ in {python_call('restore_to_file', arguments, positional)}:",
                "    pass",
            ]
        )

    def _parameter_names(self) -> str:
        is_plain = (self.run.dtype, self.run.zarr_version, self.run.device) == ("float32", None, "auto")
        names = [*(["IntervalFiles"] if self.intervals else []), "RestorationParameters"]
        return ", ".join([*names, *([] if is_plain else ["RunOptions"])])


def opening_imports(channel: int | None, selection: Selection = EVERYTHING) -> list[str]:
    """Return the imports that `opening` and `selection_as_python` need."""
    names = [
        *(["Selection"] if selection != EVERYTHING else []),
        *(["channel_of"] if channel is not None else []),
    ]
    return [f"from napari_care_losses.images.selection import {', '.join(names)}"] if names else []


def opening(
    name: str,
    path: str,
    *,
    channel: int | None = None,
    ranges: Sequence[tuple[int, int]] | None = None,
    incomplete: bool = False,
) -> list[str]:
    """Return the lines of Python that open a stack, of which a channel and some steps may be taken."""
    arguments = ", incomplete=True" if incomplete else ""
    lines = [f"{name} = ncl.read_stack({path}{arguments})"]
    if channel is not None:
        lines.append(f"{name} = channel_of({name}, {channel})")
    if ranges is not None:
        lines.append(f"{name} = {name}.select_ranges({list(map(tuple, ranges))!r})")
    return lines


def selection_as_python(selection: Selection) -> str:
    """Return what is chosen of a stack as Python."""
    frames, region = selection
    chosen: dict[str, Any] = {}
    if frames is not None:
        first, last = frames[0], frames[-1] + 1
        is_run = len(frames) > 2 and frames == tuple(range(first, last))
        chosen["frames"] = Code(f"tuple(range({first}, {last}))") if is_run else frames
    if region is not None:
        chosen["region"] = Code(repr(region))
    return python_call("Selection", chosen)


def ranges_of(frames: Frames) -> list[tuple[int, int]] | None:
    """Return the steps that were selected of a stack; None where it is whole.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.images.frames import Frames
    >>> movie = Frames(np.zeros((9, 8, 8)), "TYX")
    >>> ranges_of(movie.select_ranges([(0, 2), (4, 6)])), ranges_of(movie.select(0, 9))
    ([(0, 2), (4, 6)], None)
    """
    steps = tuple(range(frames.start, frames.stop or 0)) if frames.steps is None else frames.steps
    whole = frames.whole()
    return None if steps == tuple(range(whole.selectable)) else as_ranges(steps)
