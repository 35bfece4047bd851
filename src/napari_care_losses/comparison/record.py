"""How a comparison was made, as a command and as Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_care_losses.images.selection import as_ranges
from napari_care_losses.models.library import model_word
from napari_care_losses.provenance import (
    Code,
    Record,
    changed,
    option,
    option_words,
    path_word,
    python_call,
    python_parameters,
    range_words,
)
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.record import opening

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_care_losses.comparison.compare import Method

TITLE = "Restorations of {} compared"
"""Title of a report, of the name of the image."""


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord(Record):
    """What compared methods on a stack, and wrote a report.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_care_losses.comparison.compare import Method
    >>> methods = [Method("tv", baseline="tv"), Method("NLM", baseline="nl-means")]
    >>> record = ComparisonRecord(source=Path("a.tif"), methods=methods, out=Path("a.html"), reference="NLM")
    >>> print(record.bash())
    napari-care-losses compare a.tif --methods tv NLM=nl-means --out a.html --reference NLM
    """

    source: Path
    methods: Sequence[Method]
    out: Path
    truth: Path | None = None
    parameters: RestorationParameters = field(default_factory=RestorationParameters)
    channel: int | None = None
    ranges: Sequence[tuple[int, int]] | None = None
    """The steps along time, or the planes, that were taken as if the file held no others."""
    only: tuple[int, ...] | None = None
    """The frames that were compared, as part of the stack, ascending."""
    shown: int | None = None
    """The frame whose images the report shows; the first one by default."""
    reference: str | None = None
    independent: bool = False
    aligned: bool = True

    def words(self) -> list[str]:
        """Return the words of the command ``compare``."""
        return [
            *("compare", path_word(self.source), "--methods", *map(_method_word, self.methods)),
            *option("truth", None if self.truth is None else path_word(self.truth)),
            *option("out", path_word(self.out)),
            *option("channel", self.channel),
            *option("frames", range_words(self.ranges)),
            *option("only", range_words(None if self.only is None else as_ranges(self.only))),
            *option("show", self.shown or None if self.only is None else self.shown),
            *option("reference", self.reference),
            *option("independent", self.independent),
            *option("unaligned", not self.aligned),
            *option_words(self.parameters),
        ]

    def python(self) -> str:
        """Return the same as Python."""
        report: dict[str, Any] = {"title": TITLE.format(self.source.name)}
        known = {"frame_index": self.shown or 0, "reference": self.reference}
        known |= {"independent": self.independent, "aligned": self.aligned}
        usual = {"frame_index": 0, "reference": None, "independent": False, "aligned": True}
        report |= {name: value for name, value in known.items() if value != usual[name]}
        arguments: dict[str, Any] = {}
        if self.truth is not None:
            arguments["truth"] = Code("truth")
        if self.only is not None:
            arguments["indices"] = list(self.only)
        if changed(self.parameters):
            arguments["parameters"] = Code(python_parameters(self.parameters))
        arguments["options"] = Code(python_call("ReportOptions", report))
        opened = opening("frames", f"Path({str(self.source)!r})", channel=self.channel)
        if self.truth is not None:
            chosen = {"channel": self.channel, "ranges": self.ranges}
            given = {name: value for name, value in chosen.items() if value is not None}
            read = f"ncl.read_stack(Path({str(self.truth)!r}))"
            opened.append(f"truth = {python_call('chosen_truth', given, [read, 'frames'])}")
        if self.ranges is not None:
            opened.append(f"frames = frames.select_ranges({list(map(tuple, self.ranges))!r})")
        names = [
            *(["channel_of"] if self.channel is not None else []),
            *(["chosen_truth"] if self.truth is not None else []),
        ]
        call = python_call("compare_to_file", arguments, ["frames", "methods", f"Path({str(self.out)!r})"])
        return "\n".join(
            [
                "from pathlib import Path",
                "",
                "import napari_care_losses as ncl",
                "from napari_care_losses.comparison.compare import Method",
                "from napari_care_losses.comparison.report.content import ReportOptions",
                "from napari_care_losses.comparison.to_file import compare_to_file",
                *([f"from napari_care_losses.images.selection import {', '.join(names)}"] if names else []),
                *(
                    ["from napari_care_losses.restoration.parameters import RestorationParameters"]
                    if "parameters" in arguments
                    else []
                ),
                "",
                *opened,
                "methods = [",
                *(f"    {_method_as_python(method)}," for method in self.methods),
                "]",
                f"for _ in {call}:",
                "    pass",
            ]
        )


def _method_word(method: Method) -> str:
    """Return a method as the command line takes it: by itself, or after its label."""
    word = method.baseline or model_word(method.model)
    label = method.baseline or (method.model.stem if method.model is not None else "")
    return word if label == method.name else f"{method.name}={word}"


def _method_as_python(method: Method) -> str:
    arguments: dict[str, Any] = {}
    if method.baseline:
        arguments["baseline"] = method.baseline
    else:
        arguments["model"] = Code(f"ncl.find_model({model_word(method.model)!r})")
    if method.strength != 1:
        arguments["strength"] = method.strength
    if method.parameters is not None:
        arguments["parameters"] = Code(python_parameters(method.parameters))
    return python_call("Method", arguments, [repr(method.name)])
