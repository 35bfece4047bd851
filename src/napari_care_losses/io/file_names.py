"""Names of files that hold on Linux, macOS and Windows alike."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 200
"""Most bytes (UTF-8) of a name: file systems allow 255, and endings and marks of work under way are added to it."""

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}) | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789\u00b9\u00b2\u00b3"
}
"""Names that Windows keeps for devices, whatever ending is added."""


def is_file_name(name: str) -> bool:
    """Return whether a file can have this name on every system, with any ending added.

    Examples
    --------
    >>> [is_file_name(name) for name in ("actin 3", "a:b", "con.1", "x.", ".x", "")]
    [True, False, False, False, False, False]
    """
    return (
        bool(name)
        and name.isprintable()
        and not name.startswith(".")
        and is_name_on_windows(name)
        and len(name.encode()) <= LONGEST_NAME
    )


def is_name_on_windows(name: str) -> bool:
    """Return whether Windows gives a file just this name, and does not write to a device or another file in its place.

    Examples
    --------
    >>> [is_name_on_windows(name) for name in ("actin 3.tif", ".x", "a:b.tif", "con.tif", "x.")]
    [True, True, False, False, False]
    """
    return (
        name.rstrip(" .") == name
        and not _FORBIDDEN.search(name)
        and min(name, default=" ") >= " "
        and name.partition(".")[0].rstrip().upper() not in _DEVICES
    )


def suggested_file_name(text: str) -> str:
    """Return the name nearest to a text, such as the name of a layer, that a file can have on every system.

    Examples
    --------
    >>> suggested_file_name('low: 5/6 "dim"? '), suggested_file_name("con"), suggested_file_name("x.")
    ('low- 5-6 -dim--', 'con-', 'x')
    """
    plain = "".join(letter if letter.isprintable() else "-" for letter in text)
    name = _FORBIDDEN.sub("-", plain).lstrip(" .").rstrip(" .")
    name = name.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip(" .")
    first, dot, rest = name.partition(".")
    if first.rstrip().upper() in _DEVICES:
        name = f"{first.rstrip()}-{dot}{rest}"
    return name or "image"


def same_file(name: str) -> str:
    r"""Return what is equal for names that are one file on Windows or macOS, which ignore case and forms of accents.

    Examples
    --------
    >>> same_file("Zellkern.tif") == same_file("ZELLKERN.TIF"), same_file("a\u0308") == same_file("\u00e4")
    (True, True)
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
