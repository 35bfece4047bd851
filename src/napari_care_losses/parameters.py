"""Parameters as small frozen classes with a title, unit, bounds and help for every field.

The viewer's forms, the command line's options and the header of a model file are all made from them, so that a
parameter is described once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from reprlib import repr as shortened
from types import NoneType
from typing import Any, Self, get_args, get_type_hints

from napari_care_losses.errors import ParameterError

_INFO = "parameter"
_LARGEST_FLOAT = 10**308


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """What a form, an option and an error message need to know of one parameter.

    Attributes
    ----------
    title : str
        Label in a form.
    help : str
        One sentence for tooltips and ``--help``.
    unit : str
        Unit shown behind the value; empty for pure numbers.
    low, high : float
        Bounds, both included.
    choices : tuple of str
        The values allowed, for parameters that are words.
    words : dict of str to str
        What a form shows in place of some choices.
    advanced : bool
        Whether a form hides it until asked.
    none_means : str
        What a form shows for None, of parameters that may be None.
    none_number : float or None
        The number that stands for None in files and on the command line; None where the parameter must have a value.
    """

    title: str
    help: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    words: dict[str, str] = dataclasses.field(default_factory=dict)
    advanced: bool = False
    none_means: str = ""
    none_number: float | None = None


def parameter(default: Any, title: str, help: str, **info: Any) -> Any:
    """Declare a field of a `Parameters` class; `info` goes to `ParameterInfo`."""
    return dataclasses.field(default=default, metadata={_INFO: ParameterInfo(title=title, help=help, **info)})


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Base of all parameter classes: checked when made, convertible to and from plain values.

    A parameter that may be None has the type ``float | None`` or ``int | None``, the default None, and says what None
    means and which number stands for it: ``parameter(None, ..., none_means="automatic", none_number=0)``.

    Raises
    ------
    ParameterError
        If a value has the wrong type or lies outside its bounds.
    """

    def __post_init__(self) -> None:
        own: type = type(self)
        types = _types_of(own)
        for name, info in self.described().items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), types[name], info))

    @classmethod
    def described(cls) -> dict[str, ParameterInfo]:
        """Return the description of every parameter, in the order of declaration."""
        return {field.name: field.metadata[_INFO] for field in dataclasses.fields(cls) if _INFO in field.metadata}

    @classmethod
    def field(cls, name: str) -> Any:
        """Return a declaration like that of the field `name`, for another class with the same parameter."""
        like = cls.__dataclass_fields__[name]
        return dataclasses.field(default=like.default, metadata=like.metadata)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make an instance from plain values.

        Raises
        ------
        ParameterError
            If there is no table of names and values, a name is unknown, or a value not allowed.
        """
        if not isinstance(values, dict):
            raise ParameterError(f"Expected a table of the parameters of {cls.__name__}, found {shortened(values)}.")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            found, has = ", ".join(map(shortened, unknown)), ", ".join(sorted(known))
            raise ParameterError(f"{cls.__name__} has no parameter {found}; it has: {has}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values, ready for JSON."""
        numbers = {name: info.none_number for name, info in self.described().items()}
        return {name: numbers.get(name) if value is None else value for name, value in dataclasses.asdict(self).items()}


@cache
def _types_of(parameters: type) -> dict[str, Any]:
    # compiled from text, which takes longer than the checks
    return get_type_hints(parameters)


def _checked(name: str, value: Any, kind: Any, info: ParameterInfo) -> Any:
    if info.none_number is not None:
        if value is None or value == info.none_number:
            return None
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        # of a number that no float can hold, its sign is enough to see that it is out of bounds
        value = float(value) if abs(value) < _LARGEST_FLOAT else math.inf if value > 0 else -math.inf
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ParameterError(f"{name} must be of type {kind.__name__}, found {shortened(value)}.")
    if info.choices and value not in info.choices:
        raise ParameterError(f"{name} must be one of {', '.join(info.choices)}; found {shortened(value)}.")
    if kind in (int, float) and not info.low <= value <= info.high:
        unit = f" {info.unit}" if info.unit else ""
        none = "" if info.none_number is None else f", or be {info.none_number:g} ({info.none_means})"
        raise ParameterError(
            f"{name} must lie between {info.low:g} and {info.high:g}{unit}{none}, found {shortened(value)}."
        )
    return value
