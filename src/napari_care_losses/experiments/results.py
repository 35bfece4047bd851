"""The result of an experiment as plain values: it can be resumed, and reports are made from it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.statistics import summarize
from napari_care_losses.io.untrusted_files import nan_as_null, read_json
from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.evaluation.statistics import Row

FULL = {"steps": 800, "batch_pixels": 16 * 64 * 64, "frame": 512, "fields": 9, "time_points": 200}
"""The smallest full run; a smaller one is a smoke run, which only shows that everything works."""

Scores = dict[str, dict[int, dict[str, float]]]


@dataclass(kw_only=True)
class Result:
    """One experiment on one test set."""

    name: str
    """The experiment's name and, if it has one, the test's label."""
    title: str
    experiment: str
    label: str
    """The test's label, empty for a single test."""
    identity: str
    """Digest of everything that determines the scores."""
    methods: list[str]
    """Input, baselines and trained methods, in the order of the tables."""
    reference: str
    """The method that others are tested against."""
    independent: bool
    """Whether the images are independent fields of view."""
    scores: Scores = field(default_factory=dict)
    """``scores[method][image][metric]``, filled image by image."""
    settings: dict[str, str] = field(default_factory=dict)
    """What is needed to repeat it, by title."""
    notes: list[str] = field(default_factory=list)
    """What the reader should know."""
    shortfalls: list[str] = field(default_factory=list)
    """In what respects the run is smaller than `FULL`; empty for a full run."""
    threshold: dict[str, Any] | None = None
    """``metric`` and ``value`` that a method must reach."""

    def pending(self, images: int) -> list[int]:
        """Return the images that not every method has scores of."""
        return [i for i in range(images) if any(i not in self.scores.get(method, {}) for method in self.methods)]

    @property
    def has_even_scores(self) -> bool:
        """Whether every method has the same scores, as tables need."""
        tables = [self.scores.get(method, {}) for method in self.methods]
        found = [set().union(*table.values()) for table in tables]
        needed = set() if self.threshold is None else {self.threshold["metric"]}
        return (
            self.reference in self.methods
            and self.scores.keys() == set(self.methods)
            and all(found)
            and all(names == found[0] for names in found)
            and all(needed <= row.keys() for table in tables for row in table.values())
        )

    def rows(self) -> list[Row]:
        """Return the table of methods: means, tests against the reference."""
        return summarize(self.scores, reference=self.reference, independent=self.independent)

    def save(self, path: Path) -> None:
        """Write it; an existing file is replaced once the new one is whole. Raises `OutputError` if it cannot."""
        values = {**asdict(self), "rows": [asdict(row) for row in self.rows()]}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(nan_as_null(values), indent=1), encoding="utf-8")


def load_result(path: Path) -> Result:
    """Return what `Result.save` wrote; raises `InputError` if the file is damaged or of another version."""
    try:
        values = read_json(path.read_text(encoding="utf-8"))
        values.pop("rows")
        values["scores"] = {
            method: {
                int(image): {name: math.nan if value is None else float(value) for name, value in row.items()}
                for image, row in rows.items()
            }
            for method, rows in values["scores"].items()
        }
        result = Result(**values)
        _check_kinds(result)
        return result
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} holds no result of an experiment ({error}): remove it.") from error


def _check_kinds(result: Result) -> None:
    texts = [result.name, result.title, result.experiment, result.label, result.identity, result.reference]
    for listed in (result.methods, result.notes, result.shortfalls, list(result.settings.values())):
        if not isinstance(listed, list):
            raise TypeError(f"expected a list, found {listed!r:.60}")
        texts += listed
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text was expected, found something else")
    if result.threshold is not None:
        if not isinstance(result.threshold["metric"], str) or not isinstance(result.threshold["value"], int | float):
            raise TypeError(f"expected a metric and a number, found {result.threshold!r:.60}")
