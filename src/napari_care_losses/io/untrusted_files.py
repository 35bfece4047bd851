"""Plain values (JSON, YAML, TOML) and text from files that anybody may have made: bounded, and safe to show."""

from __future__ import annotations

import json
from typing import Any

from napari_care_losses.errors import printable

DEEPEST = 32
"""Levels of lists and tables in one another at most."""

LARGEST_WHOLE = 10**40
"""Whole numbers up to here; far larger ones can be neither printed nor turned into a float."""

LARGEST_JSON = 16 << 20
"""Characters of JSON at most; as Python objects they may take thirty times as many bytes."""


def checked(value: Any, *, deepest: int = DEEPEST) -> Any:
    """Return plain values with all their text printable.

    Raises
    ------
    ValueError
        If they are nested too deeply, or a whole number is too large.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, int):
        if abs(value) > LARGEST_WHOLE:
            raise ValueError("a whole number is too large")
        return value
    if not isinstance(value, dict | list):
        return value
    if deepest == 0:
        raise ValueError(f"more than {DEEPEST} levels of lists and tables")
    if isinstance(value, list):
        return [checked(one, deepest=deepest - 1) for one in value]
    return {checked(key, deepest=0): checked(one, deepest=deepest - 1) for key, one in value.items()}


def read_json(text: str | bytes) -> Any:
    """Return the values of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON, too long, nested too deeply, or holds a whole number that is too large.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"more than {LARGEST_JSON:,} characters")
    try:
        return checked(json.loads(text))
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} levels of lists and tables") from None
