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

LARGEST_EPS = 0.1
"""Largest term that may be added to the divisor so that constant images can be divided; it is left out here."""


class Preprocessing:
    """The steps before a network, combined into a normalization, a gain, an offset and a clipping.

    They are read from the description of the input. Gain, offset, lowest and highest are those of
    `napari_care_losses.models.program.Program`.
    """

    def __init__(self, tensor: dict[str, Any]) -> None:
        # what becomes 0 and 1; None before any step
        self.normalization: Normalization | None = None
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
            if name != "scale_linear":
                raise ModelFileError(f"The network's result is to be processed by {name}: this is not supported.")
            factor, added = _number(kwargs, "gain", 1.0), _number(kwargs, "offset", 0.0)
            gain, offset, last = gain * factor, offset * factor + added, name
        if not last:
            return False
        is_inverse = False
        if isinstance(self.normalization, FixedLevels):
            inverse = (self.normalization.high - self.normalization.low) / self.gain
            shift = self.normalization.low - self.offset * inverse
            is_inverse = math.isclose(gain, inverse, rel_tol=1e-3)
            is_inverse = is_inverse and math.isclose(offset, shift, rel_tol=1e-3, abs_tol=1e-6)
        if not is_inverse:
            raise ModelFileError(
                f"The network's result is to be processed by {last}, which is not the inverse of what is done to its "
                "input: this is not supported."
            )
        return True

    def _take(self, name: str, kwargs: dict[str, Any]) -> None:
        mode = kwargs.get("mode")
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
        elif name == "fixed_zero_mean_unit_variance" or (name == "zero_mean_unit_variance" and mode == "fixed"):
            mean, std = _number(kwargs, "mean"), _number(kwargs, "std")
            self._restart(FixedLevels(low=mean, high=mean + std), keeps_scale=True)
        elif name == "zero_mean_unit_variance":
            _check_statistics(name, kwargs)
            self._restart(Standardization())
        elif name == "scale_range":
            _check_statistics(name, kwargs)
            low, high = _number(kwargs, "min_percentile", 0.0), _number(kwargs, "max_percentile", 100.0)
            try:
                self._restart(PercentileNormalization(low=low, high=high))
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


def _check_statistics(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs.get("reference_tensor") is not None:
        raise ModelFileError(f"The network's input is processed by {name} of another tensor: this is not supported.")
    if _number(kwargs, "eps", 1e-6) > LARGEST_EPS:
        raise ModelFileError(f"The network's input is processed by {name} with an eps above {LARGEST_EPS:g}.")
    axes = kwargs.get("axes")
    if axes is not None and not (isinstance(axes, list | str) and {"y", "x"} <= {str(axis) for axis in axes}):
        raise ModelFileError(f"The network's input is processed by {name} over {shortened(axes)}: expected y and x.")


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
