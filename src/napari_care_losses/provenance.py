"""How a result was made, as a command and as Python, so that it can be made again: written from parameter objects."""

from __future__ import annotations

import re
import shlex
from abc import ABC, abstractmethod
from pathlib import Path, PurePath
from textwrap import indent
from typing import TYPE_CHECKING, Any

from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_care_losses.parameters import Parameters

PROGRAM = "napari-care-losses"

BASH, POWERSHELL, PYTHON = "bash", "powershell", "python"
"""The forms of a record, as results hold them."""

# PowerShell takes these for a single quote, too
_SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b"
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./\\:=+-]+")


class Record(ABC):
    """What made a result.

    A subclass names a command of the command line and says the same in Python; both make the result again.
    """

    @abstractmethod
    def words(self) -> list[str]:
        """Return the words of the command line after the program's name."""

    @abstractmethod
    def python(self) -> str:
        """Return the text of a Python program."""

    def bash(self) -> str:
        """Return the command, quoted for bash and the other shells of Linux and macOS."""
        return shlex.join([PROGRAM, *self.words()])

    def powershell(self) -> str:
        """Return the command, quoted for PowerShell."""
        return " ".join(map(powershell_quoted, [PROGRAM, *self.words()]))

    def texts(self) -> dict[str, str]:
        """Return all forms by name, as results hold them."""
        return {BASH: self.bash(), POWERSHELL: self.powershell(), PYTHON: self.python()}


def as_text(texts: Mapping[str, str]) -> str:
    """Return what `Record.texts` gave as one text, for formats and pages that hold no table.

    Examples
    --------
    >>> as_text({})
    ''
    """
    if not texts:
        return ""
    return f"Made by {PROGRAM} {__version__}.\n\nCommand (bash):\n{texts[BASH]}\n\nPython:\n{texts[PYTHON]}"


def powershell_quoted(word: str) -> str:
    """Return a word of a command as PowerShell reads it.

    Examples
    --------
    >>> print(powershell_quoted("it's.tif"), powershell_quoted("0:2,5:6"), powershell_quoted("fft-lite"))
    'it''s.tif' '0:2,5:6' fft-lite
    """
    if _PLAIN_WORD.fullmatch(word):
        return word
    return "'" + re.sub(f"([{_SINGLE_QUOTES}])", r"\1\1", word) + "'"


def option(name: str, value: object) -> list[str]:
    """Return the words of an option; none where the value is None or False, and of True the flag alone.

    Examples
    --------
    >>> option("tile-size", 256), option("independent", True), option("truth", None), option("low-percentile", -1.0)
    (['--tile-size', '256'], ['--independent'], [], ['--low-percentile=-1.0'])
    """
    if value is None or value is False:
        return []
    flag = f"--{name}"
    if value is True:
        return [flag]
    text = repr(value) if isinstance(value, float) else str(value)
    # a value that looks like an option
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def option_words(parameters: Parameters, defaults: Mapping[str, Any] | None = None) -> list[str]:
    """Return the options that set what differs from the defaults: those of the class, or these.

    Parameters
    ----------
    parameters : Parameters
        What the command line is to make of its options.
    defaults : mapping, optional
        Where the command line takes another value for a parameter that is not given.

    Examples
    --------
    >>> from napari_care_losses.restoration.parameters import RestorationParameters
    >>> option_words(RestorationParameters(average_flips=True, tile_size=256))
    ['--average-flips', '--tile-size', '256']
    """
    words: list[str] = []
    for name, value in changed(parameters, defaults).items():
        info = type(parameters).described()[name]
        flag = name.replace("_", "-")
        if value is False:
            words.append(f"--no-{flag}")
        else:
            words += option(flag, info.none_number if value is None else value)
    return words


def changed(parameters: Parameters, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the parameters that differ from the defaults: those of the class, or these where they are given."""
    kind, own = type(parameters), defaults or {}
    standard = {name: kind.__dataclass_fields__[name].default for name in kind.described()}
    values = {name: getattr(parameters, name) for name in kind.described()}
    return {name: value for name, value in values.items() if value != {**standard, **own}[name]}


def python_call(name: str, arguments: Mapping[str, Any], positional: Iterable[str] = ()) -> str:
    """Return a call as Python, on one line if it fits, else an argument a line; values by their `repr`.

    Examples
    --------
    >>> print(python_call("Range", {"low": 1.5, "high": None}, ["image"]))
    Range(image, low=1.5, high=None)
    """
    parts = [*positional, *(f"{key}={python_value(value)}" for key, value in arguments.items())]
    one_line = f"{name}({', '.join(parts)})"
    if len(one_line) <= 100 and "\n" not in one_line:
        return one_line
    return f"{name}(\n{_lines_of(parts)})"


def python_parameters(parameters: Parameters) -> str:
    """Return a parameter object as Python: what differs from the defaults of its class."""
    return python_call(type(parameters).__name__, changed(parameters))


class Code(str):
    """A text that is Python itself, where other values are written by their `repr`."""

    __slots__ = ()


def python_value(value: object) -> str:
    """Return a value as Python.

    Examples
    --------
    >>> python_value([Path("a.tif"), Code("frames")])
    "[Path('a.tif'), frames]"
    """
    if isinstance(value, Code):
        return value
    if isinstance(value, PurePath):
        return f"Path({str(value)!r})"
    if isinstance(value, list):
        texts = [python_value(one) for one in value]
        one_line = f"[{', '.join(texts)}]"
        return one_line if len(one_line) <= 80 and "\n" not in one_line else f"[\n{_lines_of(texts)}]"
    return repr(value)


def _lines_of(parts: Iterable[str]) -> str:
    return "".join(indent(f"{part},\n", "    ") for part in parts)


def range_words(ranges: Sequence[tuple[int, int]] | None) -> str | None:
    """Return ranges as the command line reads them; None for none.

    Examples
    --------
    >>> range_words([(0, 2), (5, 6)])
    '0:2,5:6'
    """
    return None if ranges is None else ",".join(f"{start}:{stop}" for start, stop in ranges)


def path_word(path: Path) -> str:
    """Return a path as an argument that is not taken for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
