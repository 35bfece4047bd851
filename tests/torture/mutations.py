"""Inputs spoilt in the ways that break parsers: bytes, and structures that still parse."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NUMBERS = (
    *(-1, 0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63)),
    *(10**18, 10**39, 10**400, -(10**400), math.nan, math.inf, -math.inf, 0.5, -0.0, 1e-320, 1e308, -1e308, 1e19),
)
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "..",
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "\\\\host\\x",
        "~",
        "-",
        "NaN",
        "null",
        "1",
        "0x",
    ),
    *("\x1b[2J\x1b]0;gone\x07", "\u202eevil", "\ud800", "\r\n", "<img src=x>", "%s{0!r}", "é" * 300, "a" * 70_000),
    *("float64", "F32", "BF16", "I64", "pickle", "object", "laplace", "2024-13-45", "!!python/object:os.system"),
)
WORDS = tuple(struct.pack(code, value) for code, value in [("<H", 0), ("<H", 65535), ("<L", 0), ("<L", 1)])
WORDS += tuple(struct.pack("<L", value) for value in (2**16, 2**31 - 1, 2**31, 2**32 - 1))
WORDS += tuple(struct.pack(order + "Q", value) for order in "<>" for value in (0, 1, 2**31, 2**32, 2**62, 2**64 - 1))


def spoil_bytes(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return data with bits flipped, words replaced, pieces cut out, doubled, moved or taken from other files."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 40))):
        size = len(spoilt)
        at, length = rng.randrange(size + 1), min(size, int(2 ** rng.uniform(0, 9)))
        how = rng.randrange(9)
        if how == 0 and size:
            spoilt[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif how == 1 and size:
            spoilt[rng.randrange(size)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how == 2:
            word = rng.choice(WORDS)
            spoilt[at : at + len(word)] = word
        elif how == 3:
            del spoilt[at : at + length]
        elif how == 4:
            spoilt[at:at] = spoilt[at : at + length] * rng.choice((1, 2, 10))
        elif how == 5:
            spoilt[at : at + length] = rng.randbytes(length)
        elif how == 6 and others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            spoilt[at : at + length] = other[start : start + length]
        elif how == 7 and rng.random() < 0.4:
            del spoilt[at:]
        elif how == 8:
            spoilt[at : at + length] = bytes(length)
    return bytes(spoilt)


def spoil_values(rng: random.Random, values: Any, words: Sequence[str] = ()) -> Any:
    """Return plain values with some replaced, left out, added, swapped or nested; `words` are names that count."""
    spoilt = _copied(values)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(spoilt))
        if not places:
            return any_value(rng)
        inside, key = rng.choice(places)
        how = rng.randrange(8)
        if how <= 2:
            inside[key] = any_value(rng, like=inside[key])
        elif how == 3:
            del inside[key]
        elif how == 4:
            other, there = rng.choice(places)
            inside[key] = _copied(_at(other, there))
        elif how == 5 and isinstance(inside, dict):
            new = rng.choice((*words, *TEXTS[:20]))
            inside[new] = inside.pop(key) if rng.random() < 0.5 else any_value(rng)
        elif how == 6 and isinstance(inside, list):
            inside[:] = inside * rng.choice((0, 2, 100)) if rng.random() < 0.5 else [*inside, any_value(rng)]
        else:
            for _ in range(rng.choice((1, 3, 20, 80))):
                inside[key] = [inside[key]] if rng.random() < 0.5 else {"a": inside[key]}
    return spoilt


def any_value(rng: random.Random, like: Any = None) -> Any:
    """Return a value that a parser may not expect, often of another kind than `like`."""
    if isinstance(like, int | float) and not isinstance(like, bool) and rng.random() < 0.4:
        other = float(like) if abs(like) < 1e300 else 0.5
        return rng.choice((-like, like + 1, like * 1000, other, str(like), like - 1, bool(like)))
    kind = rng.randrange(8)
    if kind <= 2:
        return rng.choice(NUMBERS)
    if kind <= 4:
        return rng.choice(TEXTS)
    return rng.choice((None, True, False, [], {}, [1, 2], [[]], {"a": {}}, {"": None}, [None], ["x"] * 50, [0] * 5))


def json_text(rng: random.Random, values: Any) -> str:
    """Return JSON, sometimes such as no writer makes: names twice, no end, numbers of any length."""
    try:
        text = json.dumps(values)
    except (RecursionError, ValueError):
        text = "[" * 5000
    if rng.random() < 0.15:
        how = rng.randrange(6)
        at = rng.randrange(len(text) + 1)
        if how == 0:
            text = text[:1] + '"format": 1, "depth": 3, ' + text[1:]
        elif how == 1:
            text = text[:at]
        elif how == 2:
            text = text[:at] + rng.choice("{}[],:\"\\0e-'\n\t") + text[at:]
        elif how == 3:
            text = rng.choice(("[", '{"a":')) * rng.choice((20, 990, 100_000)) + text
        elif how == 4:
            text = text.replace("1", "9" * rng.choice((30, 300, 5000)), 1)
        else:
            text = text[:at] + text[at : at + 20] * 3 + text[at:]
    return text


def _copied(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _copied(value) for key, value in values.items()}
    return [_copied(value) for value in values] if isinstance(values, list) else values


def _at(inside: Any, key: Any) -> Any:
    try:
        return inside[key]
    except (KeyError, IndexError):
        return None


def _places(values: Any) -> Any:
    """Yield every list or table with every key of it."""
    todo = [values]
    while todo:
        inside = todo.pop()
        if isinstance(inside, dict | list):
            for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
                yield inside, key
                todo.append(inside[key])
