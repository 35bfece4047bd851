"""Pre- and postprocessing of bioimage.io packages, in the form of this package."""

from __future__ import annotations

import math
from contextlib import suppress
from reprlib import repr as shortened
from typing import Any

from napari_care_losses.errors import ModelFileError, ParameterError
from napari_care_losses.images.normalization import FixedLevels, Normalization, PercentileNormalization, Standardization
from napari_care_losses.models.program import NO_BOUND

FLOATS = {"float32", "float64", "float16"}
"""Pixel types that can be read as float32."""

EPS = 1e-6
"""The term that the format adds to every standard deviation, so that constant images can be divided."""

LARGEST_EPS = 0.1
"""Largest such term that may be added to an image's own standard deviation or width; it is left out here."""

EXACTNESS = 1e-3
"""Largest difference of an inverse, in the units that the network sees."""


class Preprocessing:
    """The steps before a network, combined into a normalization, a gain, an offset and a clipping.

    They are read from the description of the input. Gain, offset, lowest and highest are those of
    `napari_care_losses.models.program.Program`.
    """

    def __init__(self, tensor: dict[str, Any]) -> None:
        # what becomes 0 and 1; None before any step
        self.normalization: Normalization | None = None
        self._tensor = tensor.get("id", tensor.get("name"))
        self.gain, self.offset, self.lowest, self.highest = 1.0, 0.0, -NO_BOUND, NO_BOUND
        for name, kwargs in _listed(tensor, "preprocessing"):
            if name in {"zero_mean_unit_variance", "scale_range", "fixed_zero_mean_unit_variance"} and (
                self.lowest > -NO_BOUND or self.highest < NO_BOUND
            ):
                raise ModelFileError(f"The network's input is clipped before {name}: this is not supported.")
            self._take(name, kwargs)
        self._fix()

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done after the normalisation."""
        return (self.gain, self.offset) == (1.0, 0.0) and self.lowest <= -NO_BOUND and self.highest >= NO_BOUND

    def is_undone(self, tensor: dict[str, Any]) -> bool:
        """Return whether the package itself scales the result `tensor` back to grey levels.

        Raises `ModelFileError` if anything else is done to the result.
        """
        gain, offset, last = 1.0, 0.0, ""
        for name, kwargs in _listed(tensor, "postprocessing"):
            if name == "ensure_dtype" and str(kwargs.get("dtype")) in FLOATS:
                continue
            factor, added = _linear(name, kwargs) or (0.0, 0.0)
            if not factor:
                raise ModelFileError(f"The network's result is to be processed by {name}: this is not supported.")
            gain, offset, last = gain * factor, offset * factor + added, name
        if not last:
            return False
        if not isinstance(self.normalization, FixedLevels):
            why = "its input is normalised by each image's own grey levels, which fixed numbers cannot undo"
        else:
            inverse = (self.normalization.high - self.normalization.low) / self.gain
            shift = self.normalization.low - self.offset * inverse
            if max(abs(gain - inverse), abs(offset - shift)) <= EXACTNESS * inverse:
                return True
            why = f"it multiplies by {gain:.6g} and adds {offset:.6g}, the inverse by {inverse:.6g} and {shift:.6g}"
        raise ModelFileError(
            f"The network's result is to be processed by {last}, which is not the inverse of what is done to its "
            f"input ({why}): this is not supported."
        )

    def _take(self, name: str, kwargs: dict[str, Any]) -> None:
        if name == "ensure_dtype":
            if str(kwargs.get("dtype")) not in FLOATS:
                raise ModelFileError(f"The network takes pixels of type {shortened(kwargs.get('dtype'))}, not float32.")
        elif name == "scale_linear":
            factor, added = _number(kwargs, "gain", 1.0), _number(kwargs, "offset", 0.0)
            if factor <= 0:
                raise ModelFileError(f"The network's input is multiplied by {factor:g}: expected a gain above 0.")
            self.gain, self.offset = self.gain * factor, self.offset * factor + added
            self.lowest, self.highest = (
                bound if abs(bound) >= NO_BOUND else bound * factor + added for bound in (self.lowest, self.highest)
            )
        elif name == "clip":
            self._clip(kwargs)
        elif _is_fixed(name, kwargs):
            mean, divisor = mean_and_divisor(kwargs)
            self._restart(FixedLevels(low=mean, high=mean + divisor), keeps_scale=True)
        elif name == "zero_mean_unit_variance":
            self._restart(Standardization(of_dataset=self._is_of_dataset(name, kwargs)))
        elif name == "scale_range":
            of_dataset = self._is_of_dataset(name, kwargs)
            low, high = _number(kwargs, "min_percentile", 0.0), _number(kwargs, "max_percentile", 100.0)
            try:
                self._restart(PercentileNormalization(low=low, high=high, of_dataset=of_dataset))
            except ParameterError as error:
                raise ModelFileError(f"The network's input is scaled by percentiles: {error}") from error
        else:
            raise ModelFileError(f"The network's input is to be processed by {name}: this is not supported.")

    def _restart(self, normalization: Normalization, *, keeps_scale: bool = False) -> None:
        """Set a new normalization: statistics of scaled pixels are those of the pixels, scaled."""
        if keeps_scale and isinstance(normalization, FixedLevels):
            if self.normalization is not None:
                raise ModelFileError("The network's input is normalised twice: this is not supported.")
            normalization = FixedLevels(
                low=(normalization.low - self.offset) / self.gain, high=(normalization.high - self.offset) / self.gain
            )
        self.normalization, self.gain, self.offset = normalization, 1.0, 0.0

    def _fix(self) -> None:
        """Replace a gain and an offset alone by fixed grey levels, so that the result is scaled back to grey levels."""
        if self.normalization is None:
            self._restart(FixedLevels(low=-self.offset / self.gain, high=(1 - self.offset) / self.gain))

    def _clip(self, kwargs: dict[str, Any]) -> None:
        if kwargs.get("min_percentile") is not None or kwargs.get("max_percentile") is not None:
            raise ModelFileError("The network's input is to be clipped at percentiles: this is not supported.")
        self._fix()
        self.lowest = max(self.lowest, _number(kwargs, "min", -NO_BOUND))
        self.highest = min(self.highest, _number(kwargs, "max", NO_BOUND))

    def _is_of_dataset(self, name: str, kwargs: dict[str, Any]) -> bool:
        """Return whether the statistics of a step are those of all images, not of each; refuse those of other axes.

        Before description 0.5 its mode says so; since then the axes do, where none stands for all, the batch included.
        """
        if kwargs.get("reference_tensor") not in (None, self._tensor):
            raise ModelFileError(
                f"The network's input is processed by {name} of another tensor: this is not supported."
            )
        if _number(kwargs, "eps", EPS) > LARGEST_EPS:
            raise ModelFileError(f"The network's input is processed by {name} with an eps above {LARGEST_EPS:g}.")
        axes = kwargs.get("axes")
        letters = {str(axis) for axis in axes} if isinstance(axes, list | str) else set()
        if axes is not None and not {"y", "x"} <= letters:
            raise ModelFileError(
                f"The network's input is processed by {name} over {shortened(axes)}: expected y and x."
            )
        mode = kwargs.get("mode")
        return mode == "per_dataset" or bool(letters & {"b", "batch"}) or (mode is None and axes is None)


def _is_fixed(name: str, kwargs: dict[str, Any]) -> bool:
    """Whether a step subtracts a given mean and divides by a given standard deviation."""
    is_given = kwargs.get("mode") == "fixed" or (kwargs.get("mode") is None and kwargs.get("mean") is not None)
    return name == "fixed_zero_mean_unit_variance" or (name == "zero_mean_unit_variance" and is_given)


def mean_and_divisor(kwargs: dict[str, Any]) -> tuple[float, float]:
    """Return what is subtracted and what is divided by; raise `ModelFileError` if those are no two such numbers."""
    mean, divisor = _number(kwargs, "mean"), _number(kwargs, "std") + _number(kwargs, "eps", EPS)
    if divisor <= 0:
        raise ModelFileError(f"The package divides by a standard deviation of {divisor:g}: expected one above 0.")
    return mean, divisor


def _linear(name: str, kwargs: dict[str, Any]) -> tuple[float, float] | None:
    """Return what a step multiplies by and adds, both given numbers; None for steps of other kinds."""
    if name == "scale_linear":
        return _number(kwargs, "gain", 1.0), _number(kwargs, "offset", 0.0)
    if not _is_fixed(name, kwargs):
        return None
    mean, divisor = mean_and_divisor(kwargs)
    return 1 / divisor, -mean / divisor


def _listed(tensor: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return names and settings of the steps in a list."""
    steps = tensor.get(name) or []
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ModelFileError(f"The package's description is damaged: its {name} is no list of steps.")
    found = []
    for step in steps:
        kwargs = step.get("kwargs") or {}
        if not isinstance(kwargs, dict):
            raise ModelFileError(f"The package's description is damaged: a step of its {name} has no settings.")
        found.append((str(step.get("id", step.get("name")))[:60], kwargs))
    return found


def _number(kwargs: dict[str, Any], name: str, usual: float | None = None) -> float:
    """Return a number, also from a list with one item."""
    value = kwargs.get(name)
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    value = usual if value is None else value
    if isinstance(value, str):
        # YAML 1.1, which PyYAML reads, takes 1e-06 for text
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelFileError(f"The package has a number {name} that is not understood: {shortened(kwargs.get(name))}.")
    return float(value)
